// `--for`: the files for a client, as a folder or as a tar archive, and how to use them.
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'
import { UsageError } from '../../errors.ts'
import {
  checkRegistries,
  parseGateway,
  type Handover,
  type HandoverFile,
} from '../../pki/handover/handover.ts'
import {
  handovers,
  handoverTargets,
  isForRoot,
  type HandoverTarget,
} from '../../pki/handover/targets.ts'
import type { Issuance } from '../../pki/issue.ts'
import { secret, type NewFile } from '../../pki/state/files.ts'
import { printLine } from '../output/print.ts'
import { passphraseIn, shown } from './options.ts'

export const handoverOptions = {
  for: {
    type: 'string',
    value: 'CLIENT',
    help: `also make the files for ${handoverTargets.join(', ')} in DIR/NAME-CLIENT`,
  },
  gateway: {
    type: 'string',
    value: 'URL',
    help: 'https://host:port of the gateway, as the client calls it',
  },
  registries: {
    type: 'string',
    default: 'docker.io',
    value: 'LIST',
    help: 'what it pulls through the gateway, with commas',
  },
  image: {
    type: 'string',
    value: 'IMAGE',
    help: 'of kubernetes: what copies the files, with a shell and cmp; docker.io/library/busybox:1.37 when absent',
  },
  tar: {
    type: 'boolean',
    default: false,
    help: 'an archive DIR/NAME-CLIENT.tar instead of the folder',
  },
} as const

/** What `--for` and its companions ask for. */
export interface HandoverPlan {
  /** The files for the client, to be written with the certificate. */
  files: (issuance: Issuance) => Promise<NewFile[]>
  /** Prints where they are and what to do with them; to be called once they are written. */
  tell: (issuance: Issuance) => void
}

interface HandoverValues {
  dir: string
  for?: string
  gateway?: string
  registries: string
  image?: string
  tar: boolean
  'passphrase-file'?: string
  csr?: string
}

/** Undefined without `--for`. Throws UsageError for what cannot be handed over. */
export function planOf(values: HandoverValues): HandoverPlan | undefined {
  const { gateway, tar } = values
  if (values.for === undefined) {
    if (gateway === undefined && !tar) return undefined
    throw wrong('--for', `is missing: name the client, one of ${handoverTargets.join(', ')}`)
  }
  const target = handoverTargets.find((one) => one === values.for)
  if (target === undefined) {
    throw wrong('--for', `there is no "${values.for}": choose one of ${handoverTargets.join(', ')}`)
  }
  if (gateway === undefined) throw wrong('--gateway', 'is missing: give https://host:port')
  if (!isForRoot(target) && values.csr !== undefined) {
    throw wrong('--csr', `leaves the key on the node, but ${target} needs it in its file`)
  }
  const given = passphraseIn(values['passphrase-file'], '--passphrase-file')
  if (given !== undefined && target !== 'browser') {
    throw wrong('--passphrase-file', `encrypts the key, and ${target} cannot read it then`)
  }
  const { image } = values
  if (image !== undefined && target !== 'kubernetes') {
    throw wrong('--image', `is for kubernetes: ${target} runs none`)
  }
  const registries = [...new Set(values.registries.split(',').map((one) => one.trim()))]
  checkRegistries(registries)
  const passphrase = given ?? randomBytes(15).toString('base64url')
  const address = parseGateway(gateway)
  const { dir } = values
  let handover: Handover | undefined
  const placeOf = ({ entry }: Issuance) => join(dir, `${entry.name}-${target}`)
  return {
    async files(issuance) {
      const { entry, chainPem, keyPem } = issuance
      checkClient(entry, keyPem)
      const caPem = readFileSync(join(dir, 'ca.crt'), 'utf8')
      const { name } = entry
      const input = { name, gateway: address, registries, image, caPem, chainPem, keyPem }
      handover = handovers[target](input, passphrase)
      const place = placeOf(issuance)
      const { files } = handover
      if (tar) return [{ path: `${place}.tar`, content: await tarOf(files), mode: secret }]
      return files.map((file) => ({ ...file, path: join(place, file.path) }))
    },
    tell(issuance) {
      if (handover !== undefined) tellHandover(handover, target, placeOf(issuance), tar)
    },
  }
}

function tellHandover(
  { files, steps, test }: Handover,
  target: HandoverTarget,
  place: string,
  tar: boolean,
): void {
  if (!tar) removeOthers(place, new Set(files.map(({ path }) => join(place, path))))
  const root = isForRoot(target) ? '/' : '.'
  // To tar a name with a colon is on another machine, unless a slash comes before it.
  const base = basename(place).replace(/^(?=.*:)/, './')
  const unpack = tar ? `tar -xf ${base}.tar -C ${root}` : `cp -R ${base}/. ${root}`
  printLine(`${shown(place)}${tar ? '.tar' : ''}`)
  printLine('There:')
  for (const step of [unpack, ...steps]) printLine(`  ${step}`)
  printLine('Test:')
  printLine(`  ${test}`)
}

/** Throws UsageError for what no client can use. */
function checkClient({ name, profile }: Issuance['entry'], keyPem: string | undefined): void {
  if (profile !== 'client') throw wrong('--for', `${name} is of a ${profile}, not of a client`)
  if (keyPem?.includes('ENCRYPTED') !== true) return
  throw wrong('--for', `the key of ${name} is encrypted, which no client reads: add --new-key`)
}

/** What an earlier hand-over of the same name had and this one has not. */
function removeOthers(place: string, kept: ReadonlySet<string>): void {
  for (const entry of readdirSync(place, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isDirectory() && !kept.has(path)) rmSync(path)
  }
}

async function tarOf(files: readonly HandoverFile[]): Promise<Buffer> {
  const tar = pack()
  for (const { path, content, mode } of files) {
    const owner = { uid: 0, gid: 0, uname: 'root', gname: 'root' }
    tar.entry({ name: path, mode, mtime: new Date(), ...owner }, Buffer.from(content))
  }
  tar.finalize()
  return buffer(tar)
}

function wrong(path: string, message: string): UsageError {
  return new UsageError([{ path, message }])
}
