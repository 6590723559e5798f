# start.sh -- what the examples share: where the programs are, and starting what must be up before the next.
# Sourced by their run scripts, from their folder. Sets `files`, a folder that goes with the script; all that it starts ends with it.

# In a build tree they are not on PATH. (qdsend, for a qdrouterd there may be of another make.)
build=$(cd ../../.. && pwd)/build/release/bin
command -v qdsend >/dev/null || PATH=$build:$PATH
for program in qdrouterd qdstat qdsend qdrecv; do
    command -v "$program" >/dev/null || {
        echo "run: there is no $program on PATH: install the router, or build it (scripts/run)" >&2
        exit 1
    }
done

files=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -r "$files"' EXIT

# start LOG PROGRAM...: in the background. $started is its process id, until the next.
start() {
    log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    started=$!
}

# wait_until WHAT COMMAND...: until the command succeeds; the program started last must live, and it may take 20 seconds.
wait_until() {
    what=$1
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$started" 2>/dev/null || break
        sleep 0.1
    done
    echo "run: waited in vain for $what; the program said:" >&2
    cat "$log" >&2
    exit 1
}

# Whether something listens at the port of this machine.
listens() {
    (: <"/dev/tcp/127.0.0.1/$1")
}

# start_broker PORT
start_broker() {
    start "$files/broker-$1.log" /usr/bin/python3 ../aggregation/broker.py "$1"
    wait_until "the broker at port $1" listens "$1"
}

# has_active_links COUNT: of the router's autoLinks.
has_active_links() {
    [ "$(qdstat -b "$router" -t 1 --autolinks | grep -c ' active ')" = "$1" ]
}
