#!/bin/sh
# The steps of a pipeline for a project whose deploy/ `hostwright init` wrote. Copy it there. From any directory:
#
#   sh deploy/pipeline.sh check INVENTORY      what needs no host: the site model, the playbooks
#   sh deploy/pipeline.sh review INVENTORY     what provisioning would change, to review.txt
#   sh deploy/pipeline.sh release INVENTORY    provision, deploy, ask SMOKE_URL; back to the release before if that fails
#
# From the environment, of which a pipeline hides all but the last two:
#   VAULT_PASSWORD    of ansible-vault
#   SSH_PRIVATE_KEY   one that the servers know: as root, or a user who may use sudo, and as the deploy user
#   SSH_KNOWN_HOSTS   the servers' keys, as ssh-keyscan prints them and you have compared them
#   SMOKE_URL         a page of the site that must answer
#
# Exit status: 0; 1 the work failed; 2 bad input; 75 somebody else was deploying for all of LOCK_WAIT (600) seconds.
set -eu
cd "$(dirname "$0")"

refuse() {
    echo "error: $1" >&2
    exit 2
}

# need NAME...: these variables are set.
need() {
    for name; do
        eval "test -n \"\${$name:-}\"" || refuse "$name is not set"
    done
}

# A cancelled job tells this shell alone. What runs is told as well, and undoes what it has begun.
running=
trap 'test -z "$running" || kill -TERM "$running"' TERM INT
attend() {
    "$@" &
    running=$!
    while true; do
        status=0
        wait "$running" || status=$?
        kill -0 "$running" 2>/dev/null || break
    done
    running=
    return "$status"
}

reach_hosts() {
    need SSH_PRIVATE_KEY SSH_KNOWN_HOSTS
    eval "$(ssh-agent -s)" >/dev/null
    printf '%s\n' "$SSH_PRIVATE_KEY" | ssh-add -q -
    mkdir -p ~/.ssh
    printf '%s\n' "$SSH_KNOWN_HOSTS" >>~/.ssh/known_hosts
}

test $# = 2 || refuse "it takes check, review or release, and the name of an inventory"
test -d "inventory/$2" || refuse "there is no inventory/$2"
need VAULT_PASSWORD

# The password is in a file of this run's own, which ends with it, and no argument of a command.
umask 077
private=$(mktemp -d)
trap 'rm -rf "$private"; ssh-agent -k >/dev/null 2>&1 || true' EXIT
printf '%s\n' "$VAULT_PASSWORD" >"$private/vault"
export ANSIBLE_VAULT_PASSWORD_FILE="$private/vault" ANSIBLE_INVENTORY="inventory/$2"

case $1 in
check)
    fab config.check >/dev/null
    ansible-playbook --syntax-check playbooks/*.yml
    ;;
review)
    reach_hosts
    attend ansible-playbook playbooks/site.yml --check --diff >review.txt
    ;;
release)
    need SMOKE_URL
    reach_hosts
    attend ansible-playbook playbooks/site.yml
    attend fab deploy --json --lock-wait "${LOCK_WAIT:-600}" >events.jsonl
    if ! curl -fsS --retry 5 --retry-all-errors --max-time 20 --output /dev/null "$SMOKE_URL"; then
        echo "error: $SMOKE_URL does not answer: back to the release before" >&2
        attend fab rollback --yes --json >>events.jsonl
        exit 1
    fi
    ;;
*)
    refuse "$1: it takes check, review or release"
    ;;
esac
