# Whether the rules in the file $1 can be loaded, and whether the first rules of a host close nothing that others connect to: the
# rest are ports that may be closed. Status 1, and why, if not.
rules=$1
shift
# A network namespace of its own is the place to try rules: before 0.8, nft has no option that only checks them.
unshare --net /usr/sbin/nft -f "$rules" || exit 1
if /usr/sbin/nft list table inet hostwright > /dev/null 2>&1; then exit 0; fi
listening=$(ss -ltnp) || exit 1
closed=$(echo "$listening" | awk 'NR > 1 && $4 !~ /^127\./ && $4 !~ /^\[::1\]/ && $4 !~ /%lo:/ {
        port = $4; sub(/.*:/, "", port)
        program = $0; if (!sub(/.*\(\("/, "", program)) program = "?"; sub(/".*/, "", program)
        print port, program
    }' | sort -un | while read -r port program; do
        grep -q "dport $port accept" "$rules" && continue
        case " $* " in *" $port "*) continue ;; esac
        echo "$port ($program)"
    done | paste -s -d ',' - | sed 's/,/, /g')
[ -n "$closed" ] || exit 0
echo "others connect to this host, and would be shut out: port $closed. Open these with firewall_further_rules, such as" \
    "[{port: ${closed%% *}}], or list them in firewall_closes" >&2
exit 1
