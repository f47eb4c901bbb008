# syntax=docker/dockerfile:1

# A machine with systemd and an unprivileged user, who runs the bundle that lies beside this file. README.md, "Containers", has
# the commands. The arguments of a container are those of `install`; those of a worker begin with `join`.
FROM debian:13-slim

# What Debian 13 has at the time: its archive keeps no older versions that one could pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dbus-user-session libpam-systemd systemd systemd-sysv uidmap \
    && rm -rf /var/lib/apt/lists/*

# What an administrator sets up once. Nobody logs in here, so no terminal needs a login.
RUN <<END
set -eu
useradd --create-home --uid 1000 --shell /bin/bash user
echo user:100000:65536 >/etc/subuid
echo user:100000:65536 >/etc/subgid
mkdir -p /var/lib/systemd/linger /etc/systemd/system/user@.service.d /tokens
touch /var/lib/systemd/linger/user
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
systemctl mask console-getty.service getty.target systemd-networkd-wait-online.service
install -d -o user -g user /home/user/.local/share /home/user/.config /tokens
chown -R user:user /home/user/.local
END

# `usernetes` is what is installed, run as the user whose cluster it is.
COPY --chmod=755 <<'END' /usr/local/bin/usernetes
#!/bin/sh
program=/home/user/.local/share/usernetes/current/bin/usernetes
export HOME=/home/user XDG_RUNTIME_DIR=/run/user/1000
if [ "$(id -u)" = 0 ]; then exec setpriv --reuid=user --regid=user --init-groups "$program" "$@"; fi
exec "$program" "$@"
END

COPY --chmod=755 <<'END' /usr/local/lib/usernetes/start
#!/bin/sh
# Installs and starts the cluster, or this machine's part of it, with the arguments of the container.
set -eu
while IFS= read -r argument; do set -- "$@" "$argument"; done </etc/usernetes.arguments
if [ "${1-}" != join ]; then
    # Published at all addresses of the container, so that `docker run --publish` reaches it.
    /usernetes install --publish=0.0.0.0:6443:6443/tcp "$@"
    # Other containers can join if they share the directory of tokens.
    case " $* " in *" --address"*)
        umask 077
        usernetes token create --reusable >/tokens/new
        mv /tokens/new /tokens/token
        ;;
    esac
elif [ -e "$HOME/.config/usernetes/node/node.kubeconfig" ]; then
    /usernetes install
else
    until [ -e /tokens/token ]; do sleep 2; done
    /usernetes "$@" </tokens/token
fi
END

COPY <<'END' /etc/systemd/system/usernetes.service
[Unit]
Description=Usernetes, as the user
Requires=user@1000.service
After=user@1000.service

[Service]
Type=oneshot
RemainAfterExit=yes
User=user
Environment=XDG_RUNTIME_DIR=/run/user/1000
ExecStart=/usr/local/lib/usernetes/start
StandardOutput=journal+console
StandardError=inherit
Restart=on-failure
RestartSec=15
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
END

COPY --chmod=755 <<'END' /usr/local/lib/usernetes/entrypoint
#!/bin/sh
# systemd takes no arguments for others, so they are in a file.
set -eu
: >/etc/usernetes.arguments
for argument; do printf '%s\n' "$argument" >>/etc/usernetes.arguments; done
exec /sbin/init
END

RUN systemctl enable usernetes.service

# The only payload.
ARG FILE=usernetes-x86_64
COPY --chmod=755 ${FILE} /usernetes

# The data of pods cannot lie on the file system of a container's image.
VOLUME ["/home/user/.local", "/home/user/.config"]
ENV container=docker
STOPSIGNAL SIGRTMIN+3
HEALTHCHECK --interval=10s --timeout=20s --start-period=10m --retries=6 CMD ["usernetes", "status"]
ENTRYPOINT ["/usr/local/lib/usernetes/entrypoint"]
