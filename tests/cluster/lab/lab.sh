#!/usr/bin/env bash
# Three machines on this one: a real `ray up` of docs/examples/cluster-onprem.yaml, a study on them, one of the machines
# losing its network in the middle, `ray down`.
#
#   sudo make lab            # or this file, after make setup; apt-get install openssh-server rsync iproute2 tini
#
# Each host is a set of namespaces (network, processes, mounts, name) with an sshd and a home, a /tmp, a /dev/shm of its
# own; 10.77.0.1 to .3, on a bridge that leads nowhere else. A fourth set, 10.77.0.254, is the laptop. All of it hangs
# on one process and ends with it, whatever happens; nothing is visible outside.
#
# What differs from three real machines: they share the file system (as the studies' folder would be shared anyway), this
# checkout's .venv, and one cache of decoded images; sizes are given, since each host would take the whole machine for
# its own.
set -euo pipefail

HEAD=10.77.0.1
WORKERS=(10.77.0.2 10.77.0.3)
LAPTOP=10.77.0.254
PROJECT=$(cd "$(dirname "$0")/../../.." && pwd)
SELF="$PROJECT/tests/cluster/lab/lab.sh"
SIZES="--num-cpus=1 --memory=3000000000 --object-store-memory=100000000"

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

# What the user runs: checks, then the whole lab in namespaces of its own.
main() {
    [ "$(id -u)" = 0 ] || { echo "the lab makes network namespaces, which takes root: sudo $0"; exit 2; }
    for program in sshd ssh-keygen rsync ip tini unshare; do
        command -v "$program" >/dev/null || { echo "no $program: apt-get install openssh-server rsync iproute2 tini"; exit 2; }
    done
    [ -e "$PROJECT/.venv/.ready" ] || { echo "no .venv: make setup"; exit 2; }
    export LAB
    LAB=$(mktemp -d /var/tmp/nt-study-lab.XXXXXX)
    trap 'rm -rf "$LAB"' EXIT
    # Not `exec`: the trap has to run. A killed lab takes its children with it, as --kill-child says.
    unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private "$SELF" laptop
}

# The laptop: it makes the network and the hosts, then does what docs/cluster.md says.
laptop() {
    ip link set lo up
    ip link add bridge0 type bridge
    ip addr add "$LAPTOP/24" dev bridge0
    ip link set bridge0 up
    as_machine laptop
    mkdir -p "$HOME/.ssh" "$LAB/shared"
    ssh-keygen -q -t ed25519 -N "" -f "$HOME/.ssh/id_ed25519"
    for address in "$HEAD" "${WORKERS[@]}"; do start_host "$address"; done
    for address in "$HEAD" "${WORKERS[@]}"; do
        until (exec 3<>"/dev/tcp/$address/22") 2>/dev/null; do sleep 0.1; done
    done
    say "three hosts listen for ssh"

    cd "$PROJECT"
    local file="$LAB/cluster.yaml"
    write_cluster_file >"$file"
    ray get-auth-token --generate >/dev/null
    nt-study cluster check "$file"
    export RAY_UP_enable_autoscaler_v2=0
    ray up -y --no-config-cache "$file"
    say "ray up is back"
    # Not `grep -q`, which ends at the first match: the pipe breaks, and that counts as failed here.
    until ray exec --no-config-cache "$file" 'ray status' 2>/dev/null | grep '/3.0 CPU' >/dev/null; do
        [ "$SECONDS" -lt 600 ] || { echo "the workers did not come"; exit 1; }
        sleep 2
    done
    say "all three machines are there"

    ray dashboard --no-config-cache "$file" >"$LAB/dashboard.log" 2>&1 &
    until (exec 3<>/dev/tcp/127.0.0.1/8265) 2>/dev/null; do sleep 0.5; done
    write_study_file >"$LAB/study.yaml"
    cut_off "v${WORKERS[1]##*.}" "host${WORKERS[1]##*.}" "$LAB/shared/studies/lab/trials" &
    nt-study launch "$LAB/study.yaml" --name lab --studies "$LAB/shared/studies" --address http://127.0.0.1:8265
    say "the study is finished"
    nt-study front lab --studies "$LAB/shared/studies"
    echo "hosts that trained: $(cat "$LAB"/shared/studies/lab/trials/*/starts.jsonl | grep -o '"host": "[^"]*"' | sort | uniq -c | xargs)"
    echo "each start of the trial that was cut off:"
    cat "$(cat "$LAB/cut-trial")/starts.jsonl"
    echo "the link was cut at $(cat "$LAB/cut-at"); the head noticed:"
    ray exec --no-config-cache "$file" 'grep -h "health check failed. " /tmp/ray/session_latest/logs/gcs_server.out' 2>/dev/null
    ray down -y "$file"
    say "ray down is back"
}

# The shipped file with its placeholders replaced and sizes added; nothing else.
write_cluster_file() {
    sed -e "s/CHANGE-ME-head-address/$HEAD/; s/CHANGE-ME-worker-address/${WORKERS[0]}, ${WORKERS[1]}/" \
        -e "s/^max_workers: 1 /max_workers: ${#WORKERS[@]} /; s/CHANGE-ME-user/root/" \
        -e "s/ray start --/ray start $SIZES --/" \
        docs/examples/cluster-onprem.yaml
}

# Trials that last long enough for one of them to be cut off in its middle.
write_study_file() {
    printf '%s\n' "baseline: hyperiqa" "preset: smoke" "data: photos:small" "trials: 3" "recipe:" "  init: scratch" \
        "  stages: [{name: train, epochs: 60, optimizer: adamw, lr: 1.0e-3, weight_decay: 0, schedule: constant}]"
}

# Takes a host's network away once some trial there has finished an epoch, without a word to anybody.
cut_off() {
    local link=$1 name=$2 trials=$3 folder
    while true; do
        for folder in "$trials"/*; do
            if [ -s "$folder/epochs.jsonl" ] && tail -n 1 "$folder/starts.jsonl" | grep -q "\"host\": \"$name\""; then
                ip link set "$link" down
                date '+%F %T.%3N' >"$LAB/cut-at"
                echo "$folder" >"$LAB/cut-trial"
                return
            fi
        done
        sleep 0.2
    done
}

start_host() {
    local address=$1 link="v${1##*.}"
    unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private \
        "$SELF" host "$address" >"$LAB/host-${1##*.}.log" 2>&1 &
    local process=$!
    until [ "$(readlink "/proc/$process/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
    ip link add "$link" type veth peer name eth0 netns "$process"
    ip link set "$link" master bridge0 up
}

# One machine: its network, and an sshd that ends when the lab does.
host() {
    local address=$1 name="host${1##*.}"
    hostname "$name"
    ip link set lo up
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
    ip addr add "$address/24" dev eth0
    ip link set eth0 up
    local laptop_key="$LAB/laptop/.ssh/id_ed25519.pub"
    as_machine "$name"
    # Ray's commands run in an interactive login shell, and this is all that makes a machine ready for them.
    echo "export PATH=$PROJECT/.venv/bin:\$PATH RAY_AUTH_MODE=token XDG_CACHE_HOME=$LAB/shared/cache" >"$HOME/.bashrc"
    echo ". ~/.bashrc" >"$HOME/.bash_profile"
    mkdir -p "$HOME/.ssh" "$HOME/nt-study/.venv"
    chmod 700 "$HOME" "$HOME/.ssh"
    cp "$laptop_key" "$HOME/.ssh/authorized_keys"
    mount --bind "$PROJECT/.venv" "$HOME/nt-study/.venv"
    ssh-keygen -q -t ed25519 -N "" -f "$HOME/host_key"
    printf '%s\n' "HostKey $HOME/host_key" "ListenAddress $address" "PasswordAuthentication no" "UsePAM no" \
        "PidFile none" "MaxStartups 50:30:100" "PermitRootLogin prohibit-password" "StrictModes no" >"$HOME/sshd_config"
    # tini reaps what Ray leaves behind.
    exec tini -s -- /usr/sbin/sshd -D -e -f "$HOME/sshd_config"
}

# A home, a /tmp and shared memory of this machine's own.
as_machine() {
    export HOME="$LAB/$1" RAY_AUTH_MODE=token PATH="$PROJECT/.venv/bin:$PATH"
    mkdir -p "$HOME" "$LAB/project"
    sed "s#^root:.*#root:x:0:0:root:$HOME:/bin/bash#" /etc/passwd >"$LAB/passwd-$1"
    mount --bind "$LAB/passwd-$1" /etc/passwd
    mount --bind "$PROJECT" "$LAB/project"
    mount -t tmpfs tmpfs /tmp
    mkdir -p "$PROJECT" # where the checkout is in /tmp
    mount --bind "$LAB/project" "$PROJECT"
    mount -t tmpfs -o size=512m tmpfs /dev/shm
    mount -t tmpfs tmpfs /run
    mkdir -p /run/sshd
}

"${@:-main}"
