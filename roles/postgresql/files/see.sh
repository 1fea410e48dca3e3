# What is there of the server $1, a version or nothing for the newest, before anything is changed; as NAME=VALUE.
# $2: the port that it shall have.
version=$1 port=$2
etc=$(ls -dv /etc/postgresql/${version:-*}/main 2>/dev/null | tail -n 1)
echo "etc=$etc"
[ -e "$etc/conf.d/hostwright.conf" ] && echo ours=yes
# A kernel takes a little more or less for itself than the one before: nothing that PostgreSQL is to be restarted for.
sized=$(sed -n 's/^# Sized for \([0-9]*\) MB.*/\1/p' "$etc/conf.d/hostwright.conf" 2>/dev/null)
awk -v sized="${sized:-0}" '/^MemTotal:/ {
    mb = int($2 / 1024)
    if (mb * 20 > sized * 19 && mb * 20 < sized * 21) mb = sized
    print "memory_mb=" mb
}' /proc/meminfo

# The directories of settings that a cluster reads.
included() {
    sed -n "s/^[[:blank:]]*include_dir[[:blank:]=]*'\([^']*[^'\/]\).*/\1/p" "$1/postgresql.conf" 2>/dev/null
}
included "$etc" | grep -qxF -e conf.d -e "$etc/conf.d" && echo reads_ours=yes

# A cluster's settings, without those that this role has made.
settings() {
    (
        cd "$1" && sed -n "s/#.*//; s/^[[:blank:]]*\([a-z_][a-z_.]*\)[[:blank:]]*[= ][[:blank:]]*'\{0,1\}\([^']*\).*/\1=\2/p" \
            postgresql.conf $(ls $({ echo conf.d; included .; } | sed 's,$,/*.conf,') | grep -v '/hostwright\.conf$')
    ) 2>/dev/null | sed 's/[[:blank:]]*$//'
}
for cluster in /etc/postgresql/*/*; do
    if [ "$cluster" != "$etc" ] && settings "$cluster" | grep -qx "port=$port"; then echo "taken_by=$cluster"; fi
done
# The distribution's own are nobody's choice.
[ -z "$etc" ] || settings "$etc" | grep -vx -e max_connections=100 -e shared_buffers=128MB
true
