-- Stands in for Pktgen in test_pktgen_scripts.py: takes its command line, runs the script of -f with the functions of its Lua
-- interface, and behaves as a generator before a member that loses all beyond STUB_CAN frames a second each way. Time is what
-- scripts wait for. With STUB_API=old functions have the arguments and answers of Pktgen 23.03, otherwise of 26.02.
local old, can = os.getenv("STUB_API") == "old", tonumber(os.getenv("STUB_CAN") or "1e6")
local state, speed = os.getenv("STUB_LINK") or "<UP-10000-FD>", 10000
local octets, script = { [0] = 64, [1] = 118 }, nil
for n, word in ipairs(arg) do
    if word == "-f" then script = arg[n + 1] end
end

local ports, sampler = {}, nil
for port = 0, 1 do ports[port] = { rate = 100, opackets = 0, ipackets = 0 } end

local function each(list, what)
    assert(type(list) == "string", "a list of ports is text")
    for port = 0, 1 do
        if list == "all" or list == tostring(port) then what(ports[port], port) end
    end
end

local function accept(...)
    local expected = table.pack(...)
    return function(...)
        local given = select("#", ...)
        for _, count in ipairs(expected) do
            if given == count then return ... end
        end
        error("wrong number of arguments: " .. given, 3)
    end
end

pktgen = {}
function pktgen.screen(on) assert(on == "off" or on == "on") end
function pktgen.quit() os.exit(0) end
function pktgen.clr()
    for port = 0, 1 do ports[port].opackets, ports[port].ipackets = 0, 0 end
end
function pktgen.set(...)
    local list, what, value = accept(3)(...)
    assert(what == "count" or what == "rate" or what == "size", what)
    each(list, function(port, number)
        port[what] = assert(tonumber(value))
        if what == "size" then octets[number] = port.size end
    end)
end
function pktgen.start(list) each(list, function(port) port.sending = true end) end
function pktgen.stop(list) each(list, function(port) port.sending = false end) end
function pktgen.delay(ms)
    for number = 0, 1 do
        local port = ports[number]
        if port.sending then
            local pps = speed * 1e6 / ((octets[number] + 20) * 8) * port.rate / 100
            local lost = tonumber(os.getenv("STUB_LOSES") or "0")
            port.opackets = port.opackets + pps * ms // 1000
            ports[1 - number].ipackets = ports[1 - number].ipackets + math.min(pps, can) * ms // 1000 - lost
        end
    end
end
function pktgen.linkState(list) return { [tonumber(list)] = state, n = 1 } end
function pktgen.portStats(...)
    local list = accept(old and 2 or 1)(...)
    local port = ports[tonumber(list)]
    local counts = { opackets = port.opackets // 1 | 0, ipackets = port.ipackets // 1 | 0 }
    if old then return { [tonumber(list)] = counts, n = 1 } end
    return { [tonumber(list)] = { curr = counts }, n = 1 }
end
function pktgen.set_type(_, kind) assert(kind == "ipv4") end
function pktgen.set_proto(_, kind) assert(kind == "udp") end
function pktgen.set_ipaddr(_, which, address) assert(which == "src" or which == "dst"); assert(address:match("^[%d./]+$")) end
function pktgen.latency(list, on) each(list, function(port) port.latency = on == "enable" end) end
function pktgen.latsampler_params(...)
    local _, kind, samples, rate, path = accept(5)(...)
    assert(kind == "simple" and samples > 0 and rate > 0)
    sampler = path
end
function pktgen.latsampler(list, on)
    if on ~= "off" then return end
    each(list, function(port)
        local file = assert(io.open(sampler, "w"))
        file:write("Latency\n")
        for n = 1, port.latency and 100 or 0 do file:write(n * 1000, "\n") end
        file:close()
    end)
end

dofile(script)
