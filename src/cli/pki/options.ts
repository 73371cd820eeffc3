// Options that several `pki` sub-commands share, and what they come to.
import { readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { isIP } from 'node:net'
import { systemCode, UsageError } from '../../errors.ts'
import type { AuthorityFolder } from '../../pki/state/folder.ts'
import { keyAlgorithms, type KeyAlgorithm } from '../../pki/key.ts'
import { isDnsName } from '../../pki/name-rules.ts'
import type { AlternativeNames } from '../../pki/profile.ts'

export const folderOptions = {
  dir: { type: 'string', default: 'certs', value: 'DIR', help: "the authority's folder" },
  'ca-passphrase-file': {
    type: 'string',
    value: 'FILE',
    help: "the passphrase of the authority's key, where it is encrypted",
  },
} as const

export const nameOptions = {
  dns: {
    type: 'string',
    multiple: true,
    value: 'NAME',
    help: 'alternative names, with commas',
  },
  ip: {
    type: 'string',
    multiple: true,
    value: 'ADDRESS',
    help: 'addresses among the alternative names, with commas',
  },
  spiffe: {
    type: 'string',
    multiple: true,
    value: 'ID',
    help: 'URIs among the alternative names, with commas',
  },
} as const

export const algorithmOption = {
  type: 'string',
  default: 'P-256',
  value: 'ALGORITHM',
  help: `of the key: ${keyAlgorithms.join(', ')}`,
} as const

export const keyPassphraseOption = {
  type: 'string',
  value: 'FILE',
  help: 'encrypt the key with the passphrase in the first line of FILE',
} as const

/** Which folder, and the passphrase of its keys. */
export function folderOf(values: {
  dir: string
  'ca-passphrase-file'?: string | undefined
}): AuthorityFolder {
  const passphrase = passphraseIn(values['ca-passphrase-file'], '--ca-passphrase-file')
  return { dir: values.dir, ...(passphrase === undefined ? {} : { passphrase }) }
}

/** The first line of a file. Throws UsageError where there is none to read. */
export function passphraseIn(file: string | undefined, option: string): string | undefined {
  if (file === undefined) return undefined
  const [line = ''] = readGiven(file, option).toString('utf8').split(/\r?\n/)
  if (line !== '') return line
  const message = `${file} is empty: its first line must be the passphrase`
  throw new UsageError([{ path: option, message }])
}

/** The bytes of a file that an option names, `-` being the standard input. */
export function readGiven(file: string, option: string): Buffer {
  try {
    return readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    const message = `cannot read ${file}: ${systemCode(error)}`
    throw new UsageError([{ path: option, message }])
  }
}

/** A number of days; NaN for what is no number, which issuing refuses. */
export function daysIn(text: string | undefined): { days?: number } {
  if (text === undefined) return {}
  return { days: /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN }
}

/** Throws UsageError for an algorithm that is not offered. */
export function algorithmIn(text: string): KeyAlgorithm {
  const found = keyAlgorithms.find((one) => one.toLowerCase() === text.toLowerCase())
  if (found !== undefined) return found
  const message = `there is no "${text}": choose one of ${keyAlgorithms.join(', ')}`
  throw new UsageError([{ path: '--algorithm', message }])
}

/** The one name on the command line. Throws UsageError without, or with more. */
export function nameIn(positionals: readonly string[], what = 'NAME'): string {
  const [name, ...more] = positionals
  if (name !== undefined && more.length === 0) return name
  const message =
    name === undefined ? 'is missing' : `only one, please: "${more.join(' ')}" is extra`
  throw new UsageError([{ path: what, message }])
}

/** Alternative names as given, and what `name` is one itself, which is what a server needs. */
export function alternativeNamesOf(
  given: { dns?: string[]; ip?: string[]; spiffe?: string[] },
  name?: string,
): Required<AlternativeNames> {
  const listed = (values: string[] = []) => values.flatMap((value) => value.split(','))
  const own = name === undefined ? [] : [name]
  const wrong = own.find((one) => isIP(one) === 0 && !isDnsName(one))
  if (wrong !== undefined) {
    const message = `${JSON.stringify(wrong)} is no DNS name and no address, as a server needs`
    throw new UsageError([{ path: 'NAME', message }])
  }
  const unique = (values: string[]) => [...new Set(values)]
  return {
    dnsNames: unique([...own.filter((one) => isIP(one) === 0), ...listed(given.dns)]),
    ipAddresses: unique([...own.filter((one) => isIP(one) !== 0), ...listed(given.ip)]),
    uris: unique(listed(given.spiffe)),
  }
}

/** Runs `work`, and tells the problems that it finds by the options of the command line. */
export async function byOption<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    throw new UsageError(
      error.problems.map(({ path, message }) => ({ path: optionOf[path] ?? path, message })),
    )
  }
}

/** A path as short as it gets from here. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short.startsWith('..') || short === '' ? resolve(path) : short
}

const optionOf: Readonly<Record<string, string>> = {
  commonName: 'NAME',
  days: '--days',
  dnsNames: '--dns',
  ipAddresses: '--ip',
  uris: '--spiffe',
}
