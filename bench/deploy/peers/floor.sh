#!/bin/bash
# The hand-written floor: rsync and one ssh for each host, side by side.
#   floor.sh SSH_CONFIG SOURCE HOST ...      the first host migrates and runs beat
set -euo pipefail
config=$1 source=$2
shift 2
first=$1

deploy() {
    local host=$1 units="peer-web@floor peer-worker@floor" migrate=:
    if [ "$host" = "$first" ]; then
        units="$units peer-beat@floor"
        migrate="python manage.py migrate --noinput"
    fi
    rsync -az --delete --exclude=.git --exclude=/static/ -e "ssh -F $config" "$source/" "$host:floor/current/"
    ssh -F "$config" "$host" "set -e; cd floor/current; PATH=/srv/peer/venv/bin:\$PATH; set -a; . /srv/peer/floor.env; set +a
        pip install -q -r requirements.txt
        python manage.py collectstatic --noinput
        $migrate
        sudo systemctl restart $units"
}

jobs=()
for host; do
    deploy "$host" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do
    wait "$job"
done
