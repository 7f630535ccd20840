# Completion of ergon for bash; written by `ergon docs bash`.
_ergon()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local verb=${COMP_WORDS[1]} i
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run stat sensors doctor validate agent config ledger sim help version --help --version' -- "$cur")
		return
	fi
	case $prev in
	--report|--output|-o|--config|--textfile|--zeusd-socket|--socket|--scenario|--clock)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	--root|--state|--dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return ;;
	esac
	case $verb in
	run)
		for ((i = 2; i < COMP_CWORD; i++)); do
			if [ "${COMP_WORDS[i]}" = -- ]; then
				if declare -F _command_offset >/dev/null; then
					_command_offset $((i + 1))
				elif ((i + 1 == COMP_CWORD)); then
					mapfile -t COMPREPLY < <(compgen -c -- "$cur")
				else
					mapfile -t COMPREPLY < <(compgen -f -- "$cur")
				fi
				return
			fi
		done
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			return
		fi
		mapfile -t COMPREPLY < <(compgen -W '-i --interval -n --repeat --json --csv --report -o --output --no-progress --root --select --allow-estimates --set -h --help -V --version' -- "$cur") ;;
	stat)
		mapfile -t COMPREPLY < <(compgen -W '-i --interval -n --count --json --csv --root --select --allow-estimates --set -h --help -V --version' -- "$cur") ;;
	sensors)
		mapfile -t COMPREPLY < <(compgen -W '--json -a --all --root --select --allow-estimates --set -h --help -V --version' -- "$cur") ;;
	doctor)
		mapfile -t COMPREPLY < <(compgen -W '--json --root --select --allow-estimates --set -h --help -V --version' -- "$cur") ;;
	validate)
		mapfile -t COMPREPLY < <(compgen -W '-d --duration -i --interval --json --root --select --allow-estimates --set -h --help -V --version' -- "$cur") ;;
	agent)
		mapfile -t COMPREPLY < <(compgen -W '--config --interval --state --select --allow-estimates --listen --textfile --grpc --zeusd --zeusd-socket --socket --set --root -h --help -V --version' -- "$cur") ;;
	config)
		mapfile -t COMPREPLY < <(compgen -W '--json --force --config --interval --state --select --allow-estimates --listen --textfile --grpc --zeusd --zeusd-socket --socket --set -h --help -V --version init print validate path' -- "$cur") ;;
	ledger)
		mapfile -t COMPREPLY < <(compgen -W '--state --json --csv -h --help -V --version show verify compact export' -- "$cur") ;;
	sim)
		mapfile -t COMPREPLY < <(compgen -W '--dir --scenario --speed --clock --duration --fuse --clean --from --to --json -h --help node truth list show sleep' -- "$cur") ;;
	help)
		mapfile -t COMPREPLY < <(compgen -W '-h --help -V --version run stat sensors doctor validate agent config ledger sim help version drivers' -- "$cur") ;;
	version)
		mapfile -t COMPREPLY < <(compgen -W '-h --help -V --version' -- "$cur") ;;
	esac
}
complete -F _ergon ergon
