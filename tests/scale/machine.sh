# Prints what the services of the cluster use on this machine. The word before it, `cpu` or `memory`, says what is read.
exec awk -v what="$1" '
    # The first line of a file in which the pattern occurs, or nothing.
    function line(file, pattern,    text, found) {
        while ((getline text <file) > 0) {
            if (text ~ pattern) { found = text; break }
        }
        close(file)
        return found
    }
    # A word of that line.
    function word(file, pattern, number,    words) {
        split(line(file, pattern), words, " ")
        return words[number]
    }
    BEGIN {
        for (i = 1; i < ARGC; i++) {
            group = line(ARGV[i] "/cgroup", "/u7s-[^/]*[.]service")
            if (group == "") { continue }
            sub("^[^/]*", "", group)
            match(group, "/u7s-[^/]*[.]service")
            service = substr(group, RSTART + 5, RLENGTH - 13)
            units[service] = substr(group, 1, RSTART + RLENGTH - 1)
            process[ARGV[i]] = service
        }
        if (what == "cpu") {
            for (service in units) {
                print "usec", service, word("/sys/fs/cgroup" units[service] "/cpu.stat", "^usage_usec ", 2)
            }
            split(line("/proc/stat", "^cpu "), stat, " ")
            print "machine", "idle", (stat[5] + stat[6]) / 100
            print "machine", "clock", word("/proc/uptime", ".", 1)
            exit
        }
        for (directory in process) {
            # A page that several processes share counts for each with its part, if the kernel says so.
            part = word(directory "/smaps_rollup", "^Pss:", 2)
            if (part == "") { part = word(directory "/status", "^VmRSS:", 2) }
            kib[process[directory]] += part
        }
        for (service in kib) { print "kib", service, kib[service] }
        print "machine", "available", word("/proc/meminfo", "^MemAvailable:", 2)
    }' /proc/[0-9]*
