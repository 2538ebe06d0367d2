#!/bin/sh
# Writes nginx.conf from the environment, starts nginx, and lets it take in a renewed certificate:
# connections that are open stay with the workers they have.
#
#   DISPATCHER_URL   base URL of the dispatcher's API
#   ROUTER_KEY       what ROUTER_KEY of the dispatcher is the SHA-256 of
#   TLS_CERT_FILE, TLS_KEY_FILE
#   ROUTER_PORT      8443 without it (nobody's user may open no port below 1024)
#   RESOLVER         DNS server; Amazon's in every VPC without it
#   AUTHORITIES      whom to believe that the dispatcher is it; the system's without it
#   ROUTER_FOLDER    a folder of its own to write to; /tmp/router without it
#   PROXY_PROTOCOL_FROM  networks of a balancer that sends the PROXY protocol, comma separated: what it says of the
#                    client's address is believed, of nobody else; off without it, and then a header is an error
#   RENEWAL_SECONDS  how often to look at the certificate; 60 without it
set -eu

umask 077 # the router's key is in what is written here
folder=${ROUTER_FOLDER:-/tmp/router}
certificate=${TLS_CERT_FILE:?}
mkdir -p "$folder"

fill() { # NAME VALUE: into sed's words, with its special characters made plain
    printf 's|@%s@|%s|g\n' "$1" "$(printf '%s' "$2" | sed 's/[\\&|]/\\&/g')"
}
{
    fill FOLDER "$folder"
    fill PORT "${ROUTER_PORT:-8443}"
    fill CERTIFICATE "$certificate"
    fill KEY_FILE "${TLS_KEY_FILE:?}"
    fill RESOLVER "${RESOLVER:-169.254.169.253}"
    fill DISPATCHER "${DISPATCHER_URL:?}"
    fill ROUTER_KEY "${ROUTER_KEY:?}"
    if [ -n "${PROXY_PROTOCOL_FROM:-}" ]; then
        fill PROXY_PROTOCOL " proxy_protocol"
        trusted=$(printf '%s' "$PROXY_PROTOCOL_FROM" | sed 's/[^,][^,]*/set_real_ip_from &;/g; s/,/ /g')
        fill REAL_IP "$trusted real_ip_header proxy_protocol;"
    else
        fill PROXY_PROTOCOL ""
        fill REAL_IP ""
    fi
    fill AUTHORITIES "${AUTHORITIES:-/etc/ssl/certs/ca-certificates.crt}"
} > "$folder/fill.sed"
sed -f "$folder/fill.sed" "$(dirname "$0")/nginx.conf.template" > "$folder/nginx.conf"
rm "$folder/fill.sed"

# The workers are whoever started this.
nginx -e stderr -c "$folder/nginx.conf" -g "user $(id -un) $(id -gn);" &
nginx=$!
trap 'kill -QUIT $nginx 2>/dev/null || true' TERM INT
seen=$(cksum "$certificate" "$TLS_KEY_FILE")
while kill -0 $nginx 2>/dev/null; do
    sleep "${RENEWAL_SECONDS:-60}" &
    wait $! || true # a signal ends the waiting
    now=$(cksum "$certificate" "$TLS_KEY_FILE" 2>/dev/null || echo "$seen")
    if [ "$now" != "$seen" ]; then
        seen=$now
        # nginx checks first, and goes on with what it has where the new pair does not fit.
        kill -HUP $nginx
    fi
done
wait $nginx
