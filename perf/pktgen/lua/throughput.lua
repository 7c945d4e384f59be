-- RFC 2544 section 26.1: the highest rate without loss, of the captures that Pktgen was started with (-s): one size each, or
-- IMIX. Settings: DIRECTION (encrypt, decrypt, both), FRAME (a name for the results), LAN_OCTETS and WAN_OCTETS (the frames'
-- average size with the FCS), TRIAL_MS, CONFIRM_MS, MOST and RESOLUTION in percent of the line rate, RESULTS.
package.path = (os.getenv("GETVPN_LUA") or "perf/pktgen/lua") .. "/?.lua;" .. package.path
local getvpn = require("getvpn")

local function streams(direction, rate)
    local lan = { port = getvpn.NEAR, back = getvpn.FAR, rate = rate, octets = getvpn.number("LAN_OCTETS", nil, 60, 9600) }
    local wan = { port = getvpn.FAR, back = getvpn.NEAR, rate = rate, octets = getvpn.number("WAN_OCTETS", nil, 60, 9600) }
    if direction == "encrypt" then return { lan } end
    if direction == "decrypt" then return { wan } end
    if direction == "both" then return { lan, wan } end
    error("DIRECTION is " .. direction .. ": encrypt, decrypt or both", 0)
end

getvpn.main(function()
    local direction, frame = getvpn.text("DIRECTION"), getvpn.text("FRAME")
    -- RFC 2544 section 24 wants 60 seconds for the last trial; those of the search may be shorter.
    local trial_ms = getvpn.number("TRIAL_MS", 10000, 1000, 3600000)
    local confirm_ms = getvpn.number("CONFIRM_MS", 60000, 1000, 3600000)
    local most, resolution = getvpn.number("MOST", 100, 0.01, 100), getvpn.number("RESOLUTION", 0.5, 0.001, 50)
    local function run(milliseconds)
        return function(rate)
            local trial = getvpn.trial(streams(direction, rate), milliseconds)
            for _, stream in ipairs(trial) do
                print(string.format("%s %s: %.3f %%, %d offered, %d lost%s", frame, direction, rate, stream.offered, stream.lost,
                                    stream.reached and "" or ", rate not reached"))
            end
            return trial
        end
    end
    local rate, trial, count = getvpn.highest(run(trial_ms), most, resolution)
    -- What the search found may not last: it is lowered until it does.
    local confirmed = false
    while rate > 0 and not confirmed do
        trial = run(confirm_ms)(rate)
        count, confirmed = count + 1, true
        for _, stream in ipairs(trial) do confirmed = confirmed and stream.lost <= 0 end
        if not confirmed then rate = math.max(0, rate - resolution) end
    end
    if rate == 0 then error(string.format("%s %s: something is lost at any rate: see getvpnctl counters", frame, direction), 0) end
    for _, stream in ipairs(trial) do
        local way = stream.port == getvpn.NEAR and "encrypt" or "decrypt"
        local note = string.format("%s; %d trials%s", direction, count, stream.reached and "" or "; Pktgen did not reach the rate")
        getvpn.result("throughput", frame, way, rate, stream, note)
    end
end)
