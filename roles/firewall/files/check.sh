# Whether the rules in the file $1 can be loaded, and whether the first rules of a host close nothing that others connect to: the
# rest are ports that may be closed. Status 1, and why, if not.
rules=$1
shift
closes=$*
# These open on many hosts without serving anybody: the clients of DHCP and NTP, rpcbind, mDNS, LLMNR, RabbitMQ's nodes among themselves.
seldom='68 123 111 5353 5355 4369 25672'
# A network namespace of its own is the place to try rules: before 0.8, nft has no option that only checks them.
unshare --net /usr/sbin/nft -f "$rules" || exit 1
tcp=$(ss -ltnp) && udp=$(ss -lunp) && connected=$(ss -tanp) && own=$(ip -o addr) || exit 1

# Through a forwarded port, ansible_port is not the host's. Of a tunnel's own connections nothing listens on the port.
ssh=$(echo "$connected" | awk '$1 ~ /^ESTAB/ && /\("sshd/ { port = $4; sub(/.*:/, "", port); print port }' | sort -u | while read -r port; do
    echo "$tcp" | grep -q ":$port " && ! grep -q "^ *tcp dport $port accept" "$rules" && echo "$port"
done | paste -s -d ',' -)
if [ -n "$ssh" ]; then
    echo "you are connected by ssh to port $ssh of this host, and would get in no more: set firewall_ssh_ports to [$ssh]" >&2
    exit 1
fi
if /usr/sbin/nft list table inet hostwright > /dev/null 2>&1; then exit 0; fi

own=$(echo "$own" | awk '{ sub("/.*", "", $4); print $4 }' | paste -s -d ' ' -)

listed() {
    case " $2 " in *" $1 "*) ;; *) return 1 ;; esac
}

# Who is connected to the TCP port $1, or was a moment ago, and is neither this host nor one of $2: addresses and networks of IPv4.
strangers() {
    echo "$connected" | awk -v port="$1" -v known="127.0.0.0/8 $own $2" '
        function number(address,   part) {
            split(address, part, ".")
            return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4]
        }
        function within(address, network,   part, size) {
            if (address == network) return 1
            if (address ~ /:/ || split(network, part, "/") < 2) return 0
            size = 2 ^ (32 - part[2])
            return int(number(address) / size) == int(number(part[1]) / size)
        }
        $1 !~ /^(LISTEN|SYN)/ && $4 ~ ":" port "$" {
            peer = $5; sub(/:[0-9]+$/, "", peer); sub(/%.*/, "", peer); gsub(/[][]/, "", peer); sub(/^::ffff:/, "", peer)
            for (n = split(known, list, " "); n > 0; n--) if (within(peer, list[n])) next
            print peer
        }' | sort -u | paste -s -d ' ' - | sed 's/ / and /g'
}

# Of the sockets $2, each port that the rules close for the protocol $1. A program's UDP sockets with high numbers are those of its
# own requests; the kernel's are no program's, such as WireGuard's. Before iproute2 4.14, IPv6 addresses have no brackets.
closed() {
    echo "$2" | awk -v protocol="$1" 'NR > 1 && $4 !~ /^127\./ && $4 !~ /^\[?::1\]?:[0-9]+$/ && $4 !~ /%lo:/ {
        port = $4; sub(/.*:/, "", port)
        program = $0; if (!sub(/.*\(\("/, "", program)) program = "?"; sub(/".*/, "", program)
        if (protocol == "tcp" || program == "?" || port + 0 < 32768) print port, program
    }' | sort -un | while read -r port program; do
        grep -q "^ *$1 dport $port accept" "$rules" && continue
        listed "$port" "$closes" && continue
        from=$(sed -n "s/^ *ip saddr { \(.*\) } $1 dport $port accept/\1/p" "$rules" | tr ',\n' '  ')
        if [ -z "$from" ] && ! listed "$port" "$seldom"; then
            [ "$1" = tcp ] && echo "$port ($program)" || echo "$port/udp ($program)"
        # It is meant to be closed to most: that there are others for it, only their connections say, and UDP has none.
        elif [ "$1" = tcp ]; then
            peers=$(strangers "$port" "$from")
            [ -z "$peers" ] || echo "$port ($program) from $peers"
        fi
    done
}

closed=$(closed tcp "$tcp"; closed udp "$udp")
[ -n "$closed" ] || exit 0
first=$(echo "$closed" | head -n 1)
rule="port: ${first%%[ /]*}"
case $first in
    */udp*) rule="$rule, protocol: udp" ;;
    # There, `from` can't say who: it takes no IPv6.
    *" from "*:*) ;;
    *" from "*) rule="$rule, from: [$(echo "${first##* from }" | sed 's/ and /, /g')]" ;;
esac
echo "others connect to this host, and would be shut out: port $(echo "$closed" | paste -s -d ',' - | sed 's/,/, /g')." \
    "Open these with firewall_further_rules, such as [{$rule}], or list them in firewall_closes" >&2
exit 1
