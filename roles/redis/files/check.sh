# Whether a new redis.conf, $1, may take the place of /etc/redis/redis.conf: it overrides nothing that somebody else has set
# there, and the Redis that runs loses nothing when it is started again with it. Status 1, and why, if not.
there=/etc/redis/redis.conf

overridden=$(awk '
    function value(line) { sub(/^[^ \t]+[ \t]+/, "", line); gsub(/"/, "", line); sub(/[ \t\r]+$/, "", line); return line }
    BEGIN {
        stock["bind 127.0.0.1"] = stock["bind 127.0.0.1 ::1"] = stock["bind 127.0.0.1 -::1"] = 1
        stock["port 6379"] = stock["databases 16"] = stock["appendonly no"] = stock["appendfsync everysec"] = 1
    }
    /^# BEGIN hostwright/ { ours = 1 }
    /^# END hostwright/ { ours = 0 }
    /^[a-z]/ && ours { our[$1] = value($0) }
    /^[a-z]/ && !ours { their[$1] = value($0) }
    END {
        for (name in our) if (name in their && their[name] != our[name] && !((name " " their[name]) in stock))
            print name == "requirepass" ? name : name " " their[name]
    }' "$1" | sort | paste -s -d ',' - | sed 's/,/, /g')
if [ -n "$overridden" ]; then
    echo "$there is set by somebody else, and would be overridden: $overridden." \
        "Leave it: list these names in redis_keep; or take the lines out of $there" >&2
    exit 1
fi

setting() { sed -n "s/^$1[[:blank:]][[:blank:]]*//p" "$there" | tail -n 1; }
running() { systemctl is-active --quiet redis-server; }
# The password goes in on standard input: nobody sees it among the processes.
ask() {
    address=$(setting bind | awk '{print $1}') port=$(setting port)
    case $address in '' | '*' | 0.0.0.0) address=127.0.0.1 ;; esac
    { sed -n 's/^requirepass /AUTH /p' "$there" | tail -n 1; echo "$1"; } | redis-cli -h "$address" -p "${port:-6379}" 2>&1
}

if ! grep -q '^# BEGIN hostwright' "$there" && grep -q '^requirepass ' "$1" && [ -z "$(setting requirepass)" ] &&
    running && ask "INFO keyspace" | grep -q '^db'; then
    echo "the Redis that runs holds keys of somebody else, who gives no password and would be shut out. Do without redis_password" \
        "(services.redis.password in the site model), or have him give one first: requirepass in $there" >&2
    exit 1
fi

databases=$(sed -n 's/^databases[[:blank:]][[:blank:]]*//p' "$1" | tail -n 1)
last=$(running && ask "INFO keyspace" | sed -n 's/^db\([0-9]*\):.*/\1/p' | sort -n | tail -n 1)
if [ "${last:-0}" -ge "${databases:-16}" ]; then
    echo "the Redis that runs holds keys in its database $last, and would not start again with ${databases:-16} databases." \
        "Keep at least $((last + 1)): redis_databases; or empty it first: redis-cli -n $last FLUSHDB" >&2
    exit 1
fi

# With an append-only file switched on in its configuration alone, Redis starts without what it holds.
data=$(setting dir)
holds() { [ -n "$(find "${data:-/var/lib/redis}" -maxdepth 1 -name "$1" 2>/dev/null)" ]; }
if ! grep -q '^appendonly yes' "$1" || holds 'appendonly*'; then exit 0; fi
if ! running; then
    holds '*.rdb' || exit 0
    echo "Redis holds data and does not run: start it first, so that none is lost: systemctl start redis-server" >&2
    exit 1
fi
case $(ask "CONFIG GET appendonly" | tail -n 1) in
    yes) exit 0 ;;
    no) ask "CONFIG SET appendonly yes" | tail -n 1 | grep -q OK && state=begun ;;
esac
tries=600
while [ -n "$state" ] && [ "$tries" -gt 0 ]; do
    state=$(ask "INFO persistence" | tr -d '\r')
    case $state in
        *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) sleep 1 ;;
        *aof_last_bgrewrite_status:ok*) exit 0 ;;
        *) break ;;
    esac
    tries=$((tries - 1))
done
echo "the Redis that runs did not write its data to an append-only file, and would lose it when it is started again:" \
    "$(ask "CONFIG GET appendonly" | tail -n 1). Have it do that first: redis-cli CONFIG SET appendonly yes" >&2
exit 1
