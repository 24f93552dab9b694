
# `cargo xtask ...`. All else of cargo is left to its own completion, which is loaded as
# bash-completion loads it where it is not there yet.
_cargo_or_xtask() {
    local at=1
    [[ ${COMP_WORDS[1]-} == +* ]] && at=2
    if ((COMP_CWORD > at)) && [[ ${COMP_WORDS[at]-} == xtask ]]; then
        local current=$2 previous=$3
        # Bash breaks --format=json into three words.
        if [[ $current == "=" ]]; then
            current=""
        elif [[ $previous == "=" ]]; then
            previous=${COMP_WORDS[COMP_CWORD - 2]}
        fi
        COMP_WORDS=(xtask "${COMP_WORDS[@]:at + 1}")
        ((COMP_CWORD -= at))
        _xtask xtask "$current" "$previous"
        return
    fi
    [[ -n ${_cargo_own-} ]] || _cargo_xtask_load
    if [[ $_cargo_own != none ]]; then
        "$_cargo_own" "$@"
    elif ((COMP_CWORD == at)); then
        mapfile -t COMPREPLY < <(compgen -W xtask -- "$2")
    fi
}

# Finds cargo's own completion, and takes its place.
_cargo_xtask_load() {
    local own
    if declare -F _comp_load > /dev/null; then
        _comp_load -- cargo > /dev/null 2>&1
    elif declare -F __load_completion > /dev/null; then
        __load_completion cargo > /dev/null 2>&1
    fi
    own=$(complete -p cargo 2> /dev/null)
    _cargo_own=none
    if [[ $own =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _cargo_or_xtask ]]; then
        _cargo_own=${BASH_REMATCH[1]}
    fi
    complete -o bashdefault -o default -F _cargo_or_xtask cargo
}

_cargo_own=$(complete -p cargo 2> /dev/null)
if [[ $_cargo_own =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _cargo_or_xtask ]]; then
    _cargo_own=${BASH_REMATCH[1]}
else
    _cargo_own=""
fi
complete -o bashdefault -o default -F _cargo_or_xtask cargo
