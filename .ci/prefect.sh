# Sourced: `ask METHOD PATH [CURL OPTIONS]` calls the Prefect server that PREFECT_API_URL names.

api=${PREFECT_API_URL:?set PREFECT_API_URL, for example http://127.0.0.1:4200/api}

# The credentials go through a file descriptor, never through the list of processes. On SQLite the server
# answers 503 in bursts; curl repeats those.
ask() {
    local method=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time 30 --retry 8 --retry-delay 1 --retry-connrefused \
        --config <(printf 'user = "%s"\n' "${PREFECT_API_AUTH_STRING:-:}") \
        --header 'content-type: application/json' --request "$method" "$@" "$api$path"
}
