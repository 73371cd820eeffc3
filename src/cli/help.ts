// Writes what `--help` prints: of a command from its table of options, of all commands from theirs.
import { commandNamed, type Command, type CommandOption, type CommandTable } from './command.ts'

const labelWidth = 29
const width = 100

/** The help of a command; for a family, that of the one that `argv` begins with, or of all. */
export async function helpOf(command: Command, [name = '', ...argv]: string[]): Promise<string> {
  const { usage, summary, options, subcommands } = command
  if (subcommands !== undefined) {
    if (!Object.hasOwn(subcommands, name)) return overviewOf(subcommands)
    return helpOf(await commandNamed(subcommands, name), argv)
  }
  const lines = [...Object.entries(options).map(optionLine), entry('-h, --help', 'print this')]
  return `portcullis ${usage}\n\n${summary}\n\n${lines.join('')}`
}

/** Every command of a table with its summary. */
export async function overviewOf(table: CommandTable): Promise<string> {
  const lines = await Promise.all(
    Object.values(table).map(async (load) => {
      const { usage, summary } = await load()
      return `  portcullis ${usage}\n      ${summary}\n`
    }),
  )
  const more = '--help behind a command tells its options; --version is that of the program.'
  const codes = 'Exit codes: 0 done, 1 the work failed, 2 wrong usage or config.'
  return `Usage:\n\n${lines.join('\n')}\n${more}\n${codes}\n`
}

function optionLine([name, option]: [string, CommandOption]): string {
  const { short, type, value = 'VALUE', help, multiple = false } = option
  const names = `${short === undefined ? '' : `-${short}, `}--${name}`
  const usual = typeof option.default === 'string' ? `; ${option.default} when absent` : ''
  const again = multiple ? '; may be given again' : ''
  return entry(type === 'boolean' ? names : `${names} ${value}`, `${help}${again}${usual}`)
}

function entry(label: string, text: string): string {
  const lines = wrap(text, width - labelWidth)
  const head = `  ${label}`
  const rest = lines.map((line) => `${' '.repeat(labelWidth)}${line}\n`)
  if (head.length + 2 > labelWidth) return `${head}\n${rest.join('')}`
  return `${head.padEnd(labelWidth)}${lines[0] ?? ''}\n${rest.slice(1).join('')}`
}

function wrap(text: string, columns: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && line.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}
