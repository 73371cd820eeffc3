// The manual pages, from the tables of commands and options, as `portcullis help` prints them.
import { join } from 'node:path'
import type { Command, CommandOption, CommandTable } from '../src/cli/command.ts'
import { commands } from '../src/cli/commands.ts'

/** By file below `folder`: `portcullis.1`, `portcullis-serve.1`, `portcullis-pki-init.1`. */
export async function manualPages(folder: string): Promise<Record<string, () => Promise<string>>> {
  const pages = await pagesOf(['portcullis'], commands)
  return Object.fromEntries(
    pages.map(({ words, text }) => [join(folder, `${words.join('-')}.1`), async () => text]),
  )
}

interface Page {
  words: string[]
  text: string
}

async function pagesOf(words: string[], table: CommandTable): Promise<Page[]> {
  const loaded = await Promise.all(
    Object.entries(table).map(async ([name, load]) => [name, await load()] as const),
  )
  const below = loaded.map(async ([name, command]) =>
    command.subcommands === undefined
      ? [{ words: [...words, name], text: commandPage([...words, name], command) }]
      : pagesOf([...words, name], command.subcommands),
  )
  return [{ words, text: familyPage(words, loaded) }, ...(await Promise.all(below)).flat()]
}

function familyPage(words: string[], loaded: readonly (readonly [string, Command])[]): string {
  const isProgram = words.length === 1
  const summary = isProgram ? 'a pull-only registry gateway for the edge' : 'certificates'
  const list = loaded.map(
    ([name, { summary: text }]) => `.TP\n.BR ${[...words, name].join('\\-')} (1)\n${plain(text)}`,
  )
  return page(words, summary, [
    `.SH SYNOPSIS\n.B ${words.join(' ')}\n.I command\n[\n.I options\n]`,
    `.SH COMMANDS\n${list.join('\n')}`,
    ...(isProgram
      ? [
          '.SH ENVIRONMENT\n.TP\n.B PORTCULLIS_CONFIG\nThe config file where \\-\\-config is absent.',
        ]
      : []),
    exitStatus,
  ])
}

function commandPage(words: string[], { usage, summary, options }: Command): string {
  const rows = Object.entries(options).map(([name, option]) => optionRow(name, option))
  return page(words, summary.replace(/\.$/, ''), [
    `.SH SYNOPSIS\n.B portcullis\n${plain(usage)}`,
    `.SH OPTIONS\n${[...rows, '.TP\n.BR \\-h ", " \\-\\-help\nPrints this.'].join('\n')}`,
    exitStatus,
    '.SH SEE ALSO\n.BR portcullis (1)',
  ])
}

function optionRow(name: string, { short, type, value = 'VALUE', help, ...more }: CommandOption) {
  const names = [...(short === undefined ? [] : [`-${short}`]), `--${name}`].map(plain)
  const label = names.map((one) => `\\fB${one}\\fR`).join(', ')
  const usual = typeof more.default === 'string' ? `; ${more.default} when absent` : ''
  const again = more.multiple === true ? '; may be given again' : ''
  const argument = type === 'boolean' ? '' : ` \\fI${plain(value)}\\fR`
  return `.TP\n${label}${argument}\n${plain(`${help}${again}${usual}`)}`
}

const exitStatus = `.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
The work failed.
.TP
.B 2
The command line or the config is wrong; every problem is a line on standard error.`

function page(words: string[], summary: string, sections: readonly string[]): string {
  const name = words.join('-')
  return `.\\" Made by \`node test/reference.ts\`.
.TH ${name.toUpperCase()} 1 "" "Portcullis"
.SH NAME
${plain(name)} \\- ${plain(summary)}
${sections.join('\n')}
`
}

/** For a line of text: nothing in it means anything to troff. */
function plain(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')
}
