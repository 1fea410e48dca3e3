# What is there of the server $1, a version or nothing for the newest, before anything is changed; as NAME=VALUE.
# $2: the port that it shall have.
version=$1 port=$2
etc=$(ls -dv /etc/postgresql/${version:-*}/main 2>/dev/null | tail -n 1)
echo "etc=$etc"
[ -e "$etc/conf.d/hostwright.conf" ] && echo ours=yes
grep -q "^include_dir = 'conf.d'" "$etc/postgresql.conf" 2>/dev/null && echo include_dir=yes
awk '/^MemTotal:/ { print "memory_mb=" int($2 / 1024) }' /proc/meminfo

# A cluster's settings, without those that this role has made.
settings() {
    cat "$1/postgresql.conf" $(ls "$1"/conf.d/*.conf 2>/dev/null | grep -v /hostwright.conf) 2>/dev/null |
        sed -n "s/#.*//; s/^[[:blank:]]*\([a-z_][a-z_.]*\)[[:blank:]]*[= ][[:blank:]]*'\{0,1\}\([^']*\).*/\1=\2/p" | sed 's/[[:blank:]]*$//'
}
for cluster in /etc/postgresql/*/*; do
    if [ "$cluster" != "$etc" ] && settings "$cluster" | grep -qx "port=$port"; then echo "taken_by=$cluster"; fi
done
# The distribution's own are nobody's choice.
[ -z "$etc" ] || settings "$etc" | grep -vx -e max_connections=100 -e shared_buffers=128MB
true
