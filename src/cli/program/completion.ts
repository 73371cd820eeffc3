// `portcullis completion SHELL`: what a shell completes, from the tables of commands and options.
import { UsageError } from '../../errors.ts'
import { defineCommand, type Command, type CommandTable } from '../command.ts'

/** What may stand behind some words of a command line. */
interface Place {
  /** `''` for the program itself, `pki`, `pki init`. */
  path: string
  /** Commands with their summaries. */
  commands: [name: string, summary: string][]
  /** Options by their long names; `takesValue` where a word follows. */
  options: { name: string; help: string; takesValue: boolean }[]
}

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript }

/** The command that completes the commands of `table`. */
export function completionOf(table: CommandTable): Command {
  return defineCommand({
    usage: 'completion bash|zsh|fish',
    summary: 'Prints what lets a shell complete commands and options.',
    options: {},
    takesArguments: true,

    async run({ positionals: [shell = '', ...others] }) {
      if (!Object.hasOwn(scripts, shell) || others.length > 0) {
        const message = `name one shell: ${Object.keys(scripts).join(', ')}`
        throw new UsageError([{ path: 'completion', message }])
      }
      process.stdout.write(scripts[shell as keyof typeof scripts](await placesOf('', table)))
      return 0
    },
  })
}

async function placesOf(path: string, table: CommandTable): Promise<Place[]> {
  const loaded = await Promise.all(
    Object.entries(table).map(async ([name, load]) => [name, await load()] as const),
  )
  const below = loaded.map(([name, one]) => placesBelow(`${path} ${name}`.trim(), one))
  const own: Place = {
    path,
    commands: loaded.map(([name, { summary }]) => [name, summary]),
    options: [help, ...(path === '' ? [version] : [])],
  }
  return [own, ...(await Promise.all(below)).flat()]
}

const help = { name: 'help', help: 'print the options', takesValue: false }
const version = { name: 'version', help: 'print the version', takesValue: false }

async function placesBelow(path: string, { options, subcommands }: Command): Promise<Place[]> {
  if (subcommands !== undefined) return placesOf(path, subcommands)
  const own = Object.entries(options).map(([name, option]) => ({
    name,
    help: option.help,
    takesValue: option.type === 'string',
  }))
  return [{ path, commands: [], options: [...own, help] }]
}

/** The words before the cursor and what may follow, the longest path first. */
function cases(places: readonly Place[], line: (pattern: string, words: string[]) => string) {
  return places
    .toSorted((a, b) => b.path.length - a.path.length)
    .map(({ path, commands: names, options }) => {
      const words = [...names.map(([name]) => name), ...options.map(({ name }) => `--${name}`)]
      return line(path === '' ? "' '" : `' ${path} '*`, words)
    })
    .join('\n')
}

function bashScript(places: readonly Place[]): string {
  return `# bash completion of portcullis
_portcullis() {
  local line=' ' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do line+="$word "; done
  case $line in
${cases(places, (pattern, words) => `    ${pattern}) words='${words.join(' ')}' ;;`)}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _portcullis portcullis
`
}

function zshScript(places: readonly Place[]): string {
  return `#compdef portcullis
_portcullis() {
  local line=' ' word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do line+="$word "; done
  case $line in
${cases(places, (pattern, words) => `    ${pattern}) found=(${words.join(' ')}) ;;`)}
  esac
  compadd -a found
  [[ $PREFIX == -* || $line == ' ' ]] || _files
}
compdef _portcullis portcullis
`
}

function fishScript(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, commands: names, options }) => {
    const seen = path.split(' ').filter((name) => name !== '')
    const others = names.map(([name]) => name).join(' ')
    const conditions = [
      ...seen.map((name) => `__fish_seen_subcommand_from ${name}`),
      ...(names.length === 0 ? [] : [`not __fish_seen_subcommand_from ${others}`]),
    ]
    const start = `complete -c portcullis -n '${conditions.join('; and ')}'`
    return [
      ...names.map(([name, summary]) => `${start} -f -a ${name} -d ${quoted(summary)}`),
      ...options.map(
        ({ name, help: text, takesValue }) =>
          `${start} -l ${name} ${takesValue ? '-r ' : ''}-d ${quoted(text)}`,
      ),
    ]
  })
  return `# fish completion of portcullis\n${lines.join('\n')}\n`
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`
}
