-- RFC 2544 section 26.2 with Pktgen's latency sampler. Pktgen writes its time into probes of its own between the frames, and
-- reads it where they come back, so they must come back in the clear: from the LAN of one member to the LAN of another. The
-- probes have one size whatever the frames have; the frames are the load beside which they are timed.
-- Settings: RATES (percent), FRAME (octets with the FCS), TRIAL_MS, SAMPLES, RESULTS, SAMPLES_FILE.
package.path = (os.getenv("GETVPN_LUA") or "perf/pktgen/lua") .. "/?.lua;" .. package.path
local getvpn = require("getvpn")

-- The times in the sampler's file, in nanoseconds.
local function sampled(path)
    local file, why = io.open(path)
    if not file then error("SAMPLES_FILE: " .. why, 0) end
    local times = {}
    for line in file:lines() do times[#times + 1] = tonumber(line) end
    file:close()
    table.sort(times)
    return times
end

local function quantile(times, part)
    return times[math.max(1, math.ceil(part * #times))] / 1000
end

local function addresses(port, source, destination)
    pktgen.set_type(port, "ipv4")
    pktgen.set_proto(port, "udp")
    pktgen.set_ipaddr(port, "src", source .. "/16")
    pktgen.set_ipaddr(port, "dst", destination)
end

getvpn.main(function()
    local octets, milliseconds = getvpn.number("FRAME", 64, 64, 9018), getvpn.number("TRIAL_MS", 10000, 2000, 3600000)
    local near, far = tostring(getvpn.NEAR), tostring(getvpn.FAR)
    local path, samples = getvpn.text("SAMPLES_FILE", "samples.csv"), getvpn.number("SAMPLES", 10000, 100, 100000)
    addresses(near, "10.1.0.1", "10.2.0.1")
    addresses(far, "10.2.0.1", "10.1.0.1")
    pktgen.set(near, "size", octets)
    for _, rate in ipairs(getvpn.numbers("RATES", "1 10 50", 0.001, 100)) do
        -- The port that receives looks for probes only if it, too, has latency enabled.
        pktgen.latency(near, "enable")
        pktgen.latency(far, "enable")
        pktgen.latsampler_params(far, "simple", samples, 10000, path)
        pktgen.latsampler(far, "on")
        local stream = { port = getvpn.NEAR, back = getvpn.FAR, rate = rate, octets = octets }
        getvpn.trial({ stream }, milliseconds)
        pktgen.latsampler(far, "off")
        pktgen.latency(near, "disable")
        pktgen.latency(far, "disable")
        local times = sampled(path)
        if #times == 0 then error(string.format("no probe came back at %s %%: are both ports at LANs?", rate), 0) end
        local note = string.format("%d probes; p50 %.1f us; p99 %.1f us; longest %.1f us%s", #times, quantile(times, 0.5),
                                   quantile(times, 0.99), quantile(times, 1), stream.reached and "" or "; rate not reached")
        getvpn.result("latency", octets, "through both", rate, stream, note)
    end
end)
