#!/bin/sh
# Writes zoo.cfg from the environment and becomes the server. The variables are those of
# Docker's official image, so that either image can stand in for the other.
set -eu

{
    echo "dataDir=/var/lib/zookeeper"
    echo "clientPort=2181"
    echo "tickTime=${ZOO_TICK_TIME:-2000}"
    echo "initLimit=${ZOO_INIT_LIMIT:-10}"
    echo "syncLimit=${ZOO_SYNC_LIMIT:-5}"
    echo "maxClientCnxns=${ZOO_MAX_CLIENT_CNXNS:-60}"
    echo "admin.enableServer=false"
    echo "4lw.commands.whitelist=${ZOO_4LW_COMMANDS_WHITELIST:-ruok, srvr, stat, mntr, cons, wchs, wchc, wchp}"
    # One setting a word: server.1=host:2888:3888, or any other. What stands behind `;` is
    # the port for clients, which 3.4 does not take there.
    for setting in ${ZOO_SERVERS:-} ${ZOO_CFG_EXTRA:-}; do
        echo "${setting%;*}"
    done
    # What was put beside the data while the server ran, for its next start.
    [ ! -e /var/lib/zookeeper/extra.cfg ] || cat /var/lib/zookeeper/extra.cfg
} >/opt/zookeeper/conf/zoo.cfg
[ -e /var/lib/zookeeper/myid ] || echo "${ZOO_MY_ID:-1}" >/var/lib/zookeeper/myid

archive=/opt/zookeeper/cache/classes.jsa
[ ! -e "$archive" ] || JVMFLAGS="-XX:SharedArchiveFile=$archive ${JVMFLAGS:-}"

# shellcheck disable=SC2086 # flags are words
exec java -XX:+UseSerialGC -Xmx256m -Dzookeeper.jmx.log4j.disable=true \
    -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.showShortLogName=true \
    ${JVMFLAGS:-} -cp "/opt/zookeeper/lib/*" \
    org.apache.zookeeper.server.quorum.QuorumPeerMain /opt/zookeeper/conf/zoo.cfg
