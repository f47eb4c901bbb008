# This file is put before every scenario. Each scenario runs in a new login of the unprivileged user, in the user's home.
set -euo pipefail
U=$HOME/usernetes-x86_64
DATA=$HOME/.local/share/usernetes
BIN=$DATA/current/bin
export PATH=$BIN:$PATH

# say TEXT: prints a line of progress with the machine's uptime.
say() { printf '%8.1f  %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }

# fail REASON: ends the scenario with a failure.
fail() { say "FAILED: $*"; exit 1; }

# within SECONDS TEXT COMMAND…: repeats the command until it succeeds. Fails after this time.
within() {
    local limit=$1 what=$2 start=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $((SECONDS - start)) -ge "$limit" ]; then
            "$@" || true
            fail "$what: not within $limit s"
        fi
        sleep 1
    done
    say "$what: after $((SECONDS - start)) s"
}

# home_and_runtime: lists the files in the user's directories, without those of the service manager.
home_and_runtime() { find ~ "$XDG_RUNTIME_DIR" -maxdepth 4 -path "$XDG_RUNTIME_DIR/systemd" -prune -o -print | sort; }
