-- Rekeys under load: cleartext goes in at one LAN port, and what comes out at the other is counted, while REKEY_COMMAND is run
-- every REKEY_EVERY_MS, such as: ssh ks getvpnctl rekey finance. Nothing may be lost: an error tells if anything was.
-- Settings: RATE in percent, REKEYS, LAN_OCTETS, RESULTS.
package.path = (os.getenv("GETVPN_LUA") or "perf/pktgen/lua") .. "/?.lua;" .. package.path
local getvpn = require("getvpn")

getvpn.main(function()
    local command, rekeys = getvpn.text("REKEY_COMMAND"), getvpn.number("REKEYS", 4, 1, 1000)
    local every_ms = getvpn.number("REKEY_EVERY_MS", 5000, 200, 3600000)
    local stream = { port = getvpn.NEAR, back = getvpn.FAR, rate = getvpn.number("RATE", 10, 0.001, 100),
                     octets = getvpn.number("LAN_OCTETS", nil, 60, 9600) }
    local done = 0
    getvpn.trial({ stream }, every_ms * (rekeys + 1), function()
        for number = 1, rekeys do
            pktgen.delay(every_ms)
            if not os.execute(command) then error("REKEY_COMMAND failed, at rekey " .. number .. ": " .. command, 0) end
            done = number
        end
        pktgen.delay(every_ms)
    end)
    getvpn.result("rekey", getvpn.text("FRAME", "-"), "encrypt", stream.rate, stream, done .. " rekeys")
    if stream.lost ~= 0 then error(string.format("%d of %d packets were lost; none may be", stream.lost, stream.offered), 0) end
end)
