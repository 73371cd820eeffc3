// `--for`: the files for a client, as a folder or as a tar archive, and how to use them.
import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import { tarOf } from '../../demo/tar.ts'
import { inFolder, secret, writeFiles } from '../../pki/state/files.ts'
import {
  handovers,
  handoverTargets,
  isForRoot,
  type HandoverTarget,
} from '../../pki/handover/targets.ts'
import { checkRegistries, parseGateway } from '../../pki/handover/handover.ts'
import type { Issuance } from '../../pki/issue.ts'
import { printLine } from '../print.ts'
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
  tar: {
    type: 'boolean',
    default: false,
    help: 'an archive DIR/NAME-CLIENT.tar instead of the folder',
  },
} as const

/** What `--for` and its companions ask for. */
export interface HandoverPlan {
  target: HandoverTarget
  gateway: URL
  registries: string[]
  tar: boolean
  passphrase: string
}

interface HandoverValues {
  for?: string
  gateway?: string
  registries: string
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
  const registries = [...new Set(values.registries.split(',').map((one) => one.trim()))]
  checkRegistries(registries)
  const passphrase = given ?? randomBytes(15).toString('base64url')
  return { target, gateway: parseGateway(gateway), registries, tar, passphrase }
}

/** Writes the files for the client and prints what to do with them. */
export async function handOver(
  dir: string,
  { entry, chainPem, keyPem }: Issuance,
  { target, gateway, registries, tar, passphrase }: HandoverPlan,
): Promise<void> {
  const { name } = entry
  const { files, steps, test } = handovers[target](
    {
      name,
      gateway,
      registries,
      caPem: readFileSync(join(dir, 'ca.crt'), 'utf8'),
      chainPem,
      keyPem,
    },
    passphrase,
  )
  const place = join(dir, `${name}-${target}`)
  await inFolder(dir, async () => {
    if (tar) {
      const entries = files.map(({ path, content, mode }) => ({
        path,
        bytes: Buffer.from(content),
        mode,
      }))
      writeFiles([{ path: `${place}.tar`, content: tarOf(entries), mode: secret }])
    } else {
      rmSync(place, { recursive: true, force: true })
      writeFiles(files.map((file) => ({ ...file, path: join(place, file.path) })))
    }
  })
  const root = isForRoot(target) ? '/' : '.'
  const unpack = tar
    ? `tar -xf ${name}-${target}.tar -C ${root}`
    : `cp -R ${name}-${target}/. ${root}`
  const lines = [`${shown(place)}${tar ? '.tar' : ''}`, 'There:', unpack, ...steps, 'Test:', test]
  const headings = new Set([0, 1, lines.length - 2])
  for (const [at, line] of lines.entries()) printLine(`${headings.has(at) ? '' : '  '}${line}`)
}

function wrong(path: string, message: string): UsageError {
  return new UsageError([{ path, message }])
}
