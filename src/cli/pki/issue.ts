// `portcullis pki server` and `portcullis pki client`: a certificate, and what its owner needs.
import { issue, type LeafProfile } from '../../pki/issue.ts'
import { readRequest, type SigningRequest } from '../../pki/request.ts'
import { defineCommand } from '../command.ts'
import { handoverOptions, planOf, type HandoverPlan } from './hand-over.ts'
import {
  algorithmIn,
  algorithmOption,
  alternativeNamesOf,
  byOption,
  daysIn,
  folderOf,
  folderOptions,
  keyPassphraseOption,
  nameIn,
  nameOptions,
  passphraseIn,
  readGiven,
} from './options.ts'
import { tellIssuance } from './output.ts'

const issueOptions = {
  ...nameOptions,
  days: {
    type: 'string',
    value: 'N',
    help: '365 when absent, and never longer than the authority',
  },
  algorithm: algorithmOption,
  csr: {
    type: 'string',
    value: 'FILE',
    help: 'sign this request (PKCS#10): the key stays where it was made; NAME may be left out then, the request has one; - is standard input',
  },
  'passphrase-file': keyPassphraseOption,
  force: { type: 'boolean', default: false, help: 'replace the files of that name' },
  ...folderOptions,
} as const

export const server = defineCommand({
  usage: 'pki server NAME [--dns NAME] [--ip ADDRESS]',
  summary: 'Issues a server certificate for NAME, a host name or an address.',
  options: issueOptions,
  takesArguments: true,

  async run({ values, positionals }) {
    const issuance = await issueAs('server', values, positionals)
    tellIssuance(issuance)
    return 0
  },
})

export const client = defineCommand({
  usage: 'pki client NAME [--for CLIENT --gateway URL --registries LIST]',
  summary: 'Issues a client certificate, and on request the files that a node needs with it.',
  options: { ...handoverOptions, ...issueOptions },
  takesArguments: true,

  async run({ values, positionals }) {
    const plan = planOf(values)
    const issuance = await issueAs('client', values, positionals, plan)
    tellIssuance(issuance)
    plan?.tell(issuance)
    return 0
  },
})

interface IssueValues {
  dir: string
  'ca-passphrase-file'?: string
  dns?: string[]
  ip?: string[]
  spiffe?: string[]
  days?: string
  'passphrase-file'?: string
  algorithm: string
  csr?: string
  force: boolean
}

async function issueAs(
  profile: LeafProfile,
  values: IssueValues,
  positionals: readonly string[],
  plan?: HandoverPlan,
) {
  const folder = folderOf(values)
  const algorithm = algorithmIn(values.algorithm)
  const keyPassphrase = passphraseIn(values['passphrase-file'], '--passphrase-file')
  return byOption(async () => {
    const request = await requestIn(values.csr)
    const name =
      request === undefined || positionals.length > 0 ? nameIn(positionals) : request.commonName
    return issue(folder, {
      ...alternativeNamesOf(values, profile === 'server' ? name : undefined),
      ...daysIn(values.days),
      ...(request === undefined ? {} : { request }),
      ...(keyPassphrase === undefined ? {} : { keyPassphrase }),
      name,
      profile,
      algorithm,
      force: values.force,
      ...(plan === undefined ? {} : { companions: plan.files }),
    })
  })
}

async function requestIn(file: string | undefined): Promise<SigningRequest | undefined> {
  return file === undefined ? undefined : readRequest(readGiven(file, '--csr'))
}
