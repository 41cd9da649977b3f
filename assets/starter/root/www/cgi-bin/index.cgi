#!/bin/sh
# The page that says who this machine is.
PATH=/sbin:/usr/sbin:/bin:/usr/bin
name=$(hostname)
addresses=$(ip -o addr show scope global | while read -r _ adapter _ address _; do
  echo "<tr><th>$adapter</th><td>$(cat "/sys/class/net/$adapter/address")</td><td>$address</td></tr>"
done)
read -r up _ </proc/uptime
printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
cat <<END
<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$name</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em; color: #1d2a26; background: #f5f8f6 }
h1 { font-size: 2em; margin: 0 } table { border-collapse: collapse; margin: 1.5em 0 } th, td { text-align: left; padding: .2em 1.5em .2em 0 }
p { color: #5b6b65 } @media (prefers-color-scheme: dark) { body { color: #e3ece8; background: #12191a } p { color: #93a59d } }
</style>
<h1>$name</h1>
<p>A Terrarium machine: $(uname -sr), up ${up%.*} s.</p>
<table>
$addresses
</table>
<p>Its time is $(date -u '+%Y-%m-%d %H:%M:%S') UTC. You came from ${REMOTE_ADDR:-nowhere}.</p>
</html>
END
