
# cargo's own completion calls _cargo-xtask for `cargo xtask`. Where there is none, this takes its
# place.
_cargo_or_xtask() {
    [[ $words[2] == +* ]] && words=("$words[1]" "${(@)words[3,-1]}") && (( CURRENT-- ))
    if (( CURRENT > 2 )) && [[ $words[2] == xtask ]]; then
        shift words
        (( CURRENT-- ))
        _cargo-xtask
    elif (( CURRENT == 2 )); then
        compadd xtask
    else
        _default
    fi
}
if [ "$funcstack[1]" != "_cargo-xtask" ] && (( ! $+_comps[cargo] )); then
    compdef _cargo_or_xtask cargo
fi
