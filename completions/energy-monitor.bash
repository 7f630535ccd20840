# Completion of energy-monitor for bash; written by `ergon docs bash energy-monitor`.
_energy_monitor()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	mapfile -t COMPREPLY < <(compgen -W '--bind-address --port --collection-interval-ms --gpus --cpu-as-primary --allow-estimates --log-level --set --root -h --help -V --version' -- "$cur")
}
complete -F _energy_monitor energy-monitor
