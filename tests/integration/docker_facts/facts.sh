# What a program finds in a default container: one fact on each line, NAME<tab>VALUE. Only busybox is needed.
grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|SigIgn|SigBlk)' /proc/self/status | tr -s ' \t' ' ' | sed 's/^\([^:]*\): */status \1\t/'
for f in $(find /dev -mindepth 1 -maxdepth 1 | sort); do
  if [ -L "$f" ]; then printf 'dev %s\tlink %s\n' "$f" "$(readlink "$f")"
  else printf 'dev %s\t%s\n' "$f" "$(stat -c '%F %t:%T %a %u:%g' "$f")"; fi
done
while read -r _ _ _ root at flags rest; do
  case "$at" in
    /sys/fs/cgroup*) ;;
    /proc/acpi|/proc/asound|/proc/interrupts|/proc/kcore|/proc/keys|/proc/latency_stats|/proc/sched_debug|/proc/scsi|/proc/timer_*|/sys/firmware|/sys/devices/virtual/powercap) printf 'mask %s\t%s\n' "$at" "$([ -d "$at" ] && ls -A "$at" | wc -l || wc -c <"$at")" ;;
    *) printf 'mount %s\t%s\n' "$at" "$flags" ;;
  esac
done </proc/self/mountinfo
for f in kernel/hostname kernel/core_pattern vm/overcommit_memory net/ipv4/ip_forward; do
  if echo x 2>/dev/null >"/proc/sys/$f"; then echo "writable $f	yes"; else echo "writable $f	no"; fi
done
for f in /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/uevent_seqnum /sys/kernel/profiling; do
  [ -e "$f" ] && if echo 0 2>/dev/null >"$f"; then echo "writable $f	yes"; else echo "writable $f	no"; fi
done
for f in net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range kernel/shmmax fs/mqueue/msg_max kernel/msgmax; do
  printf 'sysctl %s\t%s\n' "$f" "$(tr -s '\t' ' ' <"/proc/sys/$f")"
done
awk 'NR > 1 {n = $1; for (i = 2; i <= NF - 2 - ($NF !~ /^[0-9u]/); i++) n = n " " $i} 1' /proc/self/limits | tail -n +2 | sed 's/  */ /g; s/^/limit /; s/ \([0-9u][^ ]*\) \([0-9u][^ ]*\) \(.*\)$/\t\1 \2/'
printf 'umask\t%s\n' "$(umask)"
printf 'cwd\t%s\n' "$(pwd)"
printf 'oom_score_adj\t%s\n' "$(cat /proc/self/oom_score_adj)"
for n in mnt pid uts ipc net; do [ "$(readlink /proc/self/ns/$n)" = "$(readlink /proc/1/ns/$n)" ] && echo "own $n	yes"; done
for c in 'unshare -U true' 'mount -t tmpfs x /mnt' 'mknod /n c 1 3' 'chroot / true' 'hostname other' 'ip link set lo down' 'dmesg' 'chown 1:1 /etc/hosts' 'ping -c1 -W1 127.0.0.1' 'swapoff -a x' 'su -c true'; do
  if $c >/dev/null 2>&1; then echo "allowed $c	yes"; else echo "allowed $c	no"; fi
done
