# Whether the rules in the file $1 can be loaded, and whether the first rules of a host close nothing that others connect to: the
# rest are ports that may be closed. Status 1, and why, if not.
rules=$1
shift
# A network namespace of its own is the place to try rules: before 0.8, nft has no option that only checks them.
unshare --net /usr/sbin/nft -f "$rules" || exit 1
if /usr/sbin/nft list table inet hostwright > /dev/null 2>&1; then exit 0; fi
tcp=$(ss -ltnp) && udp=$(ss -lunp) || exit 1

# Of the sockets $2, each port that the rules close for the protocol $1. A program's UDP sockets with high numbers are
# those of its own requests; the kernel's are no program's, such as WireGuard's.
closed() {
    echo "$2" | awk -v protocol="$1" 'NR > 1 && $4 !~ /^127\./ && $4 !~ /^\[::1\]/ && $4 !~ /%lo:/ {
        port = $4; sub(/.*:/, "", port)
        program = $0; if (!sub(/.*\(\("/, "", program)) program = "?"; sub(/".*/, "", program)
        if (protocol == "tcp" || program == "?" || port + 0 < 32768) print port, program
    }' | sort -un | while read -r port program; do
        grep -q "$1 dport $port accept" "$rules" && continue
        case " $allowed " in *" $port "*) continue ;; esac
        [ "$1" = tcp ] && echo "$port ($program)" || echo "$port/udp ($program)"
    done
}

allowed=$*
closed=$(closed tcp "$tcp"; closed udp "$udp")
[ -n "$closed" ] || exit 0
first=$(echo "$closed" | sed -n '1s/ .*//p')
case $first in */udp) first="${first%/udp}, protocol: udp" ;; esac
echo "others connect to this host, and would be shut out: port $(echo "$closed" | paste -s -d ',' - | sed 's/,/, /g')." \
    "Open these with firewall_further_rules, such as [{port: $first}], or list them in firewall_closes" >&2
exit 1
