#!/bin/sh
# The steps of a pipeline for a project whose deploy/ `hostwright init` wrote. Copy it there. From any directory:
#
#   sh deploy/pipeline.sh check INVENTORY      what needs no host: the site model, the playbooks
#   sh deploy/pipeline.sh review INVENTORY     what provisioning would change, to review.txt
#   sh deploy/pipeline.sh release INVENTORY    provision, deploy, ask SMOKE_URL; back to the release before if that fails
#
# From the environment, of which a pipeline hides the first two:
#   VAULT_PASSWORD    of ansible-vault
#   SSH_PRIVATE_KEY   one that the servers know: as root, or a user who may use sudo, and as the deploy user; also as base64
#   SSH_KNOWN_HOSTS   the servers' keys, as ssh-keyscan prints them and you have compared them
#   SMOKE_URL         a page of the site that must answer
#   SMOKE_CA          its certificate as PEM, or its authority's, where that is not a public one
#
# Exit status: 0; 1 the work failed; 2 bad input, also a SMOKE_URL that no release can be judged by; 75 somebody else was deploying for all
# of LOCK_WAIT (600) seconds; 130 cancelled.
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

test $# = 2 || refuse "it takes check, review or release, and the name of an inventory"
test -d "inventory/$2" || refuse "there is no inventory/$2"
case $1 in
check) need VAULT_PASSWORD ;;
review) need VAULT_PASSWORD SSH_PRIVATE_KEY SSH_KNOWN_HOSTS ;;
release) need VAULT_PASSWORD SSH_PRIVATE_KEY SSH_KNOWN_HOSTS SMOKE_URL ;;
*) refuse "$1: it takes check, review or release" ;;
esac
# What is encrypted stays so, wherever it leads.
case $1,${SMOKE_URL:-} in
release,https://*) follow=https ;;
release,http://*) follow=http,https ;;
release,*) refuse "SMOKE_URL begins with https:// or http://" ;;
esac

# An agent of this run's own, which sees for itself when the run has ended, also by SIGKILL.
if test "$1" != check && test -z "${PIPELINE_AGENT:-}"; then
    export PIPELINE_AGENT=1
    exec ssh-agent sh "./${0##*/}" "$@"
fi

# A cancelled job tells this shell alone. What runs is told as well, undoes what it has begun, and nothing else is started.
running=
cancelled=
trap 'cancelled=1; test -z "$running" || kill -TERM "$running" 2>/dev/null || true' TERM INT
attend() {
    test -z "$cancelled" || exit 130
    "$@" &
    running=$!
    test -z "$cancelled" || kill -TERM "$running" 2>/dev/null || true
    while true; do
        status=0
        wait "$running" || status=$?
        kill -0 "$running" 2>/dev/null || break
    done
    running=
    test -z "$cancelled" || exit 130
    return "$status"
}

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
# Ansible runs it and reads the password: that is in no file, and no argument of a command.
printf '%s\n' '#!/bin/sh' 'printf "%s\n" "$VAULT_PASSWORD"' >"$private/vault-password"
chmod 700 "$private/vault-password"
export ANSIBLE_VAULT_PASSWORD_FILE="$private/vault-password" ANSIBLE_INVENTORY="inventory/$2"

# The key as it is, or as base64: some pipelines hide only what is one line without spaces.
print_key() {
    case $SSH_PRIVATE_KEY in
    *-----BEGIN*) printf '%s\n' "$SSH_PRIVATE_KEY" ;;
    *) printf '%s' "$SSH_PRIVATE_KEY" | base64 -d 2>/dev/null ;;
    esac
}

reach_hosts() {
    print_key | ssh-add -q - || refuse "SSH_PRIVATE_KEY is no private key without a passphrase"
    # ssh asks the system where this user's home is, and fab asks HOME; in some pipelines' containers they differ.
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
    export HOME
    mkdir -p -m 700 "$HOME/.ssh"
    touch "$HOME/.ssh/known_hosts"
    printf '%s\n' "$SSH_KNOWN_HOSTS" | while IFS= read -r line; do
        grep -qxF -e "$line" "$HOME/.ssh/known_hosts" || printf '%s\n' "$line" >>"$HOME/.ssh/known_hosts"
    done
}

# ask_site SO_FAR [OPTION...]: whether SMOKE_URL answers with 2xx in the end. A name or a certificate that is wrong is no fault of a release:
# the run ends here, and what it has done so far stays.
ask_site() {
    so_far=$1
    shift
    if test -n "${SMOKE_CA:-}"; then
        printf '%s\n' "$SMOKE_CA" >"$private/ca.pem"
        set -- --cacert "$private/ca.pem" "$@"
    fi
    asked=0
    attend curl -sSL --proto-redir "=$follow" --max-redirs 5 --max-time 20 --output /dev/null --write-out '%{http_code}' "$@" "$SMOKE_URL" \
        >"$private/code" || asked=$?
    case $asked,$(cat "$private/code") in
    0,2??) ;;
    3,* | 6,*) refuse "$so_far, but $SMOKE_URL, or where it leads, is no name that is known here" ;;
    35,* | 51,* | 60,* | 77,*)
        refuse "$so_far, but $SMOKE_URL, or where it leads, has no certificate that is trusted here for that name: SMOKE_CA takes it"
        ;;
    *) return 1 ;;
    esac
}

# Ansible ends with statuses of its own. What is wrong with the input is said here, before it runs.
attend fab config.check >/dev/null
case $1 in
check)
    attend ansible-playbook --syntax-check playbooks/*.yml || exit 2
    ;;
review)
    reach_hosts
    if ! attend ansible-playbook playbooks/site.yml --check --diff >review.txt; then
        # What failed, with what it says up to the next empty line, and how each host ended.
        sed -nE '/(fatal|failed): \[/,/^$/p; /^PLAY RECAP/,$p' review.txt >&2
        echo "error: the review failed; all of it is in ${PWD##*/}/review.txt" >&2
        exit 1
    fi
    ;;
release)
    rm -f events.jsonl deploy.xml rollback.xml
    reach_hosts
    attend ansible-playbook playbooks/site.yml || exit 1
    # nginx is there now, whatever the application does: what is wrong with the URL is found before a release is judged by it.
    ask_site "nothing was deployed" || true
    attend fab deploy --json --junit deploy.xml --lock-wait "${LOCK_WAIT:-600}" >events.jsonl
    if ! ask_site "the release is live" --fail --retry 5 --retry-all-errors; then
        echo "error: $SMOKE_URL does not answer with 2xx: back to the release before" >&2
        attend fab rollback --yes --json --junit rollback.xml --lock-wait "${LOCK_WAIT:-600}" >>events.jsonl ||
            echo "error: the release that does not answer is still live" >&2
        exit 1
    fi
    ;;
esac
