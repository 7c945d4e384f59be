-- What the tests for Pktgen-DPDK share: settings from the environment, trials, the search of RFC 2544, results as CSV.
-- Loaded by the scripts beside it, inside Pktgen. README.md says with which versions they were tried.
local M = {}

-- Pktgen reads its ports' counters once a second: what it says is true two readings after the last packet.
local SETTLE_MS = 2200
-- Pktgen sends a packet again and again until its NIC takes it: what it cannot send is not lost, but later, so a rate that
-- was wanted is to be compared with the one that was.
local REACHED = 0.95
local LINK_TRIES = 30
-- A NIC's own wire: preamble, start of frame and gap between frames.
local WIRE = 20

local function fail(...)
    error(string.format(...), 0)
end

-- A setting that is a number.
function M.number(name, default, least, most)
    local text = os.getenv(name)
    local value = text and tonumber(text) or (not text and default)
    if not value or value < least or value > most then
        fail("%s is %s: expected a number from %s to %s", name, text or "not set", least, most)
    end
    return value
end

function M.text(name, default)
    local text = os.getenv(name)
    if text == nil or text == "" then
        if default == nil then fail("%s is not set", name) end
        return default
    end
    return text
end

-- Several numbers, with blanks between them.
function M.numbers(name, default, least, most)
    local values = {}
    for word in M.text(name, default):gmatch("%S+") do
        local value = tonumber(word)
        if not value or value < least or value > most then
            fail("%s has %q: expected numbers from %s to %s", name, word, least, most)
        end
        values[#values + 1] = value
    end
    return values
end

-- Pktgen's ports: 0 is at the member's LAN, 1 at its WAN, or at the LAN of the other member.
M.NEAR, M.FAR = 0, 1

-- A port's counters since `pktgen.clr`: one argument from 25.05 on, two before.
function M.counts(port)
    local ok, all = pcall(pktgen.portStats, tostring(port), "port")
    if not ok then all = pktgen.portStats(tostring(port)) end
    local found = all[port]
    if not found then fail("Pktgen has no port %d: see -m and the devices on its command line", port) end
    return found.curr or found
end

-- Fails where no cable is, or nobody at its other end. A NIC may need some seconds.
function M.speed_mbit(port)
    local state
    for _ = 1, LINK_TRIES do
        state = pktgen.linkState(tostring(port))[port] or ""
        local speed = tonumber(state:match("(%d+)"))
        if speed and speed > 0 then return speed end
        pktgen.delay(500)
    end
    fail("port %d has no link (%s): is the member running, and the cable in?", port, state)
end

-- Frames a second at 100 %, for frames of that many octets with the FCS.
function M.line_rate(port, octets)
    return M.speed_mbit(port) * 1e6 / ((octets + WIRE) * 8)
end

-- A time of traffic. A stream: the `port` that sends, the port where it comes `back`, `rate` in percent, frames of `octets`
-- on the average. Each gets `offered`, `received`, `lost`, and whether the rate was `reached`.
-- `meanwhile`, if given, is called again and again, with the milliseconds that have passed, until the time is over.
function M.trial(streams, milliseconds, meanwhile)
    pktgen.clr()
    -- Up to 24.03 one clock paces all ports, and one core's ports follow the first of them: where one port sends, all have its
    -- rate.
    if #streams == 1 then pktgen.set("all", "rate", streams[1].rate) end
    for _, stream in ipairs(streams) do
        local port = tostring(stream.port)
        pktgen.set(port, "count", 0)
        pktgen.set(port, "rate", stream.rate)
        stream.wanted = M.line_rate(stream.port, stream.octets) * stream.rate / 100
    end
    for _, stream in ipairs(streams) do pktgen.start(tostring(stream.port)) end
    if meanwhile then
        meanwhile(milliseconds)
    else
        pktgen.delay(milliseconds)
    end
    for _, stream in ipairs(streams) do pktgen.stop(tostring(stream.port)) end
    pktgen.delay(SETTLE_MS)
    for _, stream in ipairs(streams) do
        stream.offered = M.counts(stream.port).opackets
        stream.received = M.counts(stream.back).ipackets
        stream.lost = stream.offered - stream.received
        stream.pps = stream.offered * 1000 / milliseconds
        stream.reached = stream.pps >= REACHED * stream.wanted
        if stream.offered == 0 then fail("port %d has sent nothing: is a capture loaded (-s), or its pool too small?", stream.port) end
    end
    return streams
end

-- RFC 2544 section 26.1: the highest rate, in percent, at which nothing is lost. `run(rate)` returns a trial's streams.
-- Returns the rate, 0 if there is none, the last trial that passed, and how many trials there were.
function M.highest(run, most, resolution)
    local low, high, passed, count = 0, most, nil, 0
    local rate = most
    repeat
        count = count + 1
        local trial = run(rate)
        local ok = true
        for _, stream in ipairs(trial) do ok = ok and stream.lost <= 0 end
        if ok then low, passed = rate, trial else high = rate end
        rate = (low + high) / 2
    until low == most or high - low <= resolution
    return low, passed, count
end

-- A line of results, on the screen and at the end of a file.
local columns = "test,frame,direction,rate_percent,pps,offered,received,lost,note"
function M.result(test, frame, direction, rate, stream, note)
    local line = string.format("%s,%s,%s,%.3f,%.0f,%d,%d,%d,%s", test, frame, direction, rate, stream.pps, stream.offered,
                               stream.received, stream.lost, note or "")
    local path = M.text("RESULTS", "results.csv")
    local file, why = io.open(path, "a+")
    if not file then fail("RESULTS: %s", why) end
    if file:seek("end") == 0 then file:write(columns, "\n") end
    file:write(line, "\n")
    file:close()
    print(line)
end

-- Runs a test and ends Pktgen, whatever happens. What went wrong is also in the file that tells whoever started Pktgen, since
-- Pktgen's own exit status does not.
function M.main(test)
    pktgen.screen("off")
    local ok, why = pcall(test)
    pcall(pktgen.stop, "all")
    local verdict = os.getenv("VERDICT")
    local file = verdict and io.open(verdict, "w")
    if file then
        file:write(ok and "ok" or tostring(why), "\n")
        file:close()
    end
    print(ok and "getvpn: done" or "getvpn: FAILED: " .. tostring(why))
    pktgen.quit()
end

return M
