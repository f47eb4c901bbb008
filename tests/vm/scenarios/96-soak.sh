# needs: kube-apiserver kubelet coredns-image busybox-image
# takes: 2 hours
# Tests that a cluster which works all the time needs no more of anything after hours. 30 pods run; every minute a deployment is
# rolled, and an image is loaded and removed. Memory, file descriptors and processes by service, and the user's control groups,
# mounts and disk, are read every five minutes, after the work of that minute. What the last quarter has beyond the second one is
# growth: the first one is for what caches and etcd's history take once.
K="usernetes kubectl -n soak"
MINUTES=120
EVERY=5
# How much may be added: to a service's memory, in MB and in parts of it; to its open files and processes; to the user's control
# groups and mounts; and to the disk, in MB.
MORE_MEMORY=16
MORE_OF_MEMORY=0.15
MORE_FILES=16
MORE_PROCESSES=4
MORE_GROUPS=8
MORE_MOUNTS=8
MORE_DISK=200

# readings MINUTE: prints lines of a minute, a quantity, what has it, and how much: MB of memory and disk, numbers of the others.
readings() {
    local kubelet
    snapshot >snapshot
    if grep ^unreadable snapshot; then fail "the memory of these processes cannot be read"; fi
    awk -v minute="$1" '
        $1 == "snapshot" || $3 != "-" { next }
        {
            memory[$2] += $1
            processes[$2]++
            command = "ls /proc/" $5 "/fd 2>/dev/null | wc -l"
            command | getline open
            close(command)
            files[$2] += open
        }
        END {
            for (service in memory) {
                print minute, "memory", service, memory[service] / 1e6 * 1024
                print minute, "files", service, files[service]
                print minute, "processes", service, processes[service]
            }
        }' snapshot
    kubelet=$(awk '$4 == "kubelet" { print $5 }' snapshot)
    echo "$1 groups user $(find "/sys/fs/cgroup/user.slice/user-$UID.slice" -type d 2>/dev/null | wc -l)"
    echo "$1 mounts cluster $(wc -l <"/proc/$kubelet/mountinfo")"
    echo "$1 disk home $(df -k --output=used ~ | awk 'END { print $1 / 1e6 * 1024 }')"
}

# work: what is done every minute. On a slow or busy machine it takes longer, and there are fewer rounds: how fast it is, is not
# what this tests.
work() {
    $K rollout restart deployment/rolled &&
        $K rollout status deployment/rolled --timeout=900s &&
        usernetes image load mine.tar &&
        usernetes image rm docker.io/library/mine:1 &&
        # Pods that were replaced are gone, too.
        within 300 "there are as many pods as before" sh -c "[ \$($K get pods -o name | wc -l) = 30 ]"
}

"$U" install
ready "a cluster"
usernetes kubectl delete namespace soak --ignore-not-found
usernetes kubectl create namespace soak
sleepers soak sleepers 25
sleepers soak rolled 5
own_image
say "$MINUTES minutes of work"
: >readings
began=$(date +%s)
rounds=0
minute=0
while [ $minute -lt $MINUTES ]; do
    minute=$((($(date +%s) - began) / 60))
    (work) >worked 2>&1 || { cat worked; $K get pods -o wide || true; fail "minute $minute"; }
    rounds=$((rounds + 1))
    if [ $minute -ge $((${next:=0})) ]; then
        readings $minute >>readings
        next=$((minute + EVERY))
        say "minute $minute: $(awk -v m=$minute '$1 == m && $2 == "memory" { sum += $4 } END { printf "%.0f MB of memory in services", sum }' readings)"
    fi
    left=$((began + 60 * (minute + 1) - $(date +%s)))
    [ $left -le 0 ] || sleep $left
done

say "$rounds rounds: means of the quarters"
awk -v minutes=$MINUTES -v memory=$MORE_MEMORY -v part=$MORE_OF_MEMORY -v files=$MORE_FILES -v processes=$MORE_PROCESSES \
    -v groups=$MORE_GROUPS -v mounts=$MORE_MOUNTS -v disk=$MORE_DISK '
    {
        quarter = int($1 * 4 / minutes)
        if (quarter > 3) { quarter = 3 }
        key = $2 " " $3
        if (!(key in seen)) { seen[key] = 1; order[++keys] = key }
        sum[key, quarter] += $4
        count[key, quarter]++
    }
    function mean(key, quarter) { return count[key, quarter] ? sum[key, quarter] / count[key, quarter] : 0 }
    END {
        bound["memory"] = memory; bound["files"] = files; bound["processes"] = processes
        bound["groups"] = groups; bound["mounts"] = mounts; bound["disk"] = disk
        printf "| %-36s | %8s | %8s | %8s | %8s | %8s |\n", "what", "first", "second", "third", "last", "growth"
        dashes = sprintf("%38s|%10s|%10s|%10s|%10s|%10s|", "", "", "", "", "", "")
        gsub(" ", "-", dashes)
        print "|" dashes
        for (i = 1; i <= keys; i++) {
            key = order[i]
            split(key, words, " ")
            growth = mean(key, 3) - mean(key, 1)
            may = bound[words[1]]
            if (words[1] == "memory" && part * mean(key, 1) > may) { may = part * mean(key, 1) }
            grows = growth > may
            failed += grows
            printf "| %-36s | %8.1f | %8.1f | %8.1f | %8.1f | %8.1f |%s\n", key, mean(key, 0), mean(key, 1), mean(key, 2), mean(key, 3), growth, \
                grows ? sprintf(" GROWS: at most %.1f", may) : ""
        }
        exit failed > 0
    }' readings || fail "it grows"
usernetes kubectl delete namespace soak
rm mine.tar readings snapshot worked
