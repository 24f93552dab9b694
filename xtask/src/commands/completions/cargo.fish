
# `cargo xtask ...`, beside what fish knows of cargo.
function __cargo_xtask_line
    string replace -r '^\s*(\S*/)?cargo(\s+\+\S+)?\s+xtask\s' 'cargo-xtask ' -- (commandline -cp)
end
function __cargo_xtask_is_typed
    string match -qr '^\s*(\S*/)?cargo(\s+\+\S+)?\s+xtask\s' -- (commandline -cp)
end
function __cargo_xtask_is_asked_for
    test (commandline -opc)[-1] = $argv[1]
end
complete -c cargo -n __cargo_xtask_is_typed -f -a '(complete -C (__cargo_xtask_line))'
complete -c cargo -n __fish_use_subcommand -f -a xtask -d 'Build, deploy, verify and roll back'
