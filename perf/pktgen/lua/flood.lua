-- Unknown SPIs beside good traffic. At the WAN Pktgen sends a capture in which one packet of ONE_GOOD_IN has an SPI that the
-- member knows (wan-flood.pcap), at the LAN cleartext at GOOD_RATE percent. Counted is what of the good ones came through.
-- Settings: RATES, GOOD_RATE (0: nothing at the LAN), ONE_GOOD_IN, TRIAL_MS, LAN_OCTETS, WAN_OCTETS, LEAST_SHARE, RESULTS.
package.path = (os.getenv("GETVPN_LUA") or "perf/pktgen/lua") .. "/?.lua;" .. package.path
local getvpn = require("getvpn")

getvpn.main(function()
    local milliseconds = getvpn.number("TRIAL_MS", 10000, 1000, 3600000)
    local good_in, good_rate = getvpn.number("ONE_GOOD_IN", 16, 2, 65536), getvpn.number("GOOD_RATE", 5, 0, 100)
    local least = getvpn.number("LEAST_SHARE", 0.95, 0, 1)
    local lan_octets, wan_octets = getvpn.number("LAN_OCTETS", nil, 60, 9600), getvpn.number("WAN_OCTETS", nil, 60, 9600)
    local missed = {}
    for _, rate in ipairs(getvpn.numbers("RATES", "1 5 10 25 50 100", 0.001, 100)) do
        local flood = { port = getvpn.FAR, back = getvpn.NEAR, rate = rate, octets = wan_octets }
        local all = { flood }
        if good_rate > 0 then
            all[2] = { port = getvpn.NEAR, back = getvpn.FAR, rate = good_rate, octets = lan_octets }
        end
        getvpn.trial(all, milliseconds)
        -- A capture that was not sent to its end may have had one good packet more or less.
        flood.offered = flood.offered // good_in
        flood.lost = math.max(0, flood.offered - flood.received)
        for _, stream in ipairs(all) do
            local share = stream.received / math.max(1, stream.offered)
            local way = stream == flood and "decrypt" or "encrypt"
            local note = string.format("%.2f %% of the good ones beside a flood at %g %%%s", 100 * math.min(1, share), rate,
                                       stream.reached and "" or "; rate not reached")
            getvpn.result("flood", "1 good in " .. good_in, way, stream.rate, stream, note)
            if share < least then missed[#missed + 1] = string.format("%s at %g %%: %.2f %%", way, rate, 100 * share) end
        end
    end
    if #missed > 0 then
        error(string.format("less than %.0f %% of the good packets came through: %s", 100 * least, table.concat(missed, "; ")), 0)
    end
end)
