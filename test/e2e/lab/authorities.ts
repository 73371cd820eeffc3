// Authorities that are not ours, each driven by its own program as the guide says it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort, startProgram, succeed } from './program.ts'

/** PEM texts; the certificate with its chain. */
export interface ForeignPair {
  cert: string
  key: string
}

export interface ForeignAuthority {
  /** Its certificates, the root first, PEM. */
  certificates: string[]
  /** What clients trust. */
  root: string
  issue: (name: string, kind: 'server' | 'client') => Promise<ForeignPair>
  /** Replaces the certificate of a client. */
  renew: (name: string) => Promise<ForeignPair>
  revoke: (name: string) => Promise<void>
  /** The newest revocation list, PEM or DER. */
  list: () => Promise<Buffer>
}

export type MakeAuthority = (t: Test, folder: string, name: string) => Promise<ForeignAuthority>

const opensslConfig = `[ca]
default_ca = edge
[edge]
database = index.txt
new_certs_dir = .
rand_serial = yes
certificate = ca.crt
private_key = ca.key
default_md = sha256
default_days = 90
default_crl_days = 30
unique_subject = no
policy = names
[names]
commonName = supplied
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:gateway.local, IP:127.0.0.1
`

export const makeOpensslAuthority: MakeAuthority = async (_t, folder, name) => {
  const at = (file: string) => join(folder, file)
  const read = (file: string) => readFileSync(at(file), 'utf8')
  // `openssl ca` takes the files of its config from the folder that it runs in.
  const run = (command: string) => succeed('sh', ['-ec', `cd '${folder}'; ${command}`])
  mkdirSync(folder, { recursive: true })
  writeFileSync(at('edge.cnf'), opensslConfig)
  writeFileSync(at('index.txt'), '')
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  await run(`openssl req -x509 ${key} -keyout ca.key -out ca.crt -days 3650 -subj '/CN=${name}' \
    -addext 'keyUsage=critical,keyCertSign,cRLSign'`)
  const sign = (client: string, kind: string) =>
    run(`openssl ca -batch -notext -config edge.cnf -extensions ${kind} \
      -in ${client}.csr -out ${client}.crt`)
  const pairOf = (client: string) => ({ cert: read(`${client}.crt`), key: read(`${client}.key`) })
  return {
    certificates: [read('ca.crt')],
    root: read('ca.crt'),
    async issue(client, kind) {
      await run(
        `openssl req -new ${key} -keyout ${client}.key -out ${client}.csr -subj /CN=${client}`,
      )
      await sign(client, kind)
      return pairOf(client)
    },
    async renew(client) {
      await sign(client, 'client')
      return pairOf(client)
    },
    async revoke(client) {
      await run(`openssl ca -config edge.cnf -revoke ${client}.crt`)
    },
    async list() {
      await run('openssl ca -config edge.cnf -gencrl -out ca.crl')
      return readFileSync(at('ca.crl'))
    },
  }
}

export const makeEasyRsaAuthority: MakeAuthority = async (_t, folder, name) => {
  const pki = join(folder, 'pki')
  const read = (file: string) => readFileSync(join(pki, file), 'utf8')
  const run = (args: string[], env: Record<string, string> = {}) =>
    succeed('easyrsa', args, {
      env: {
        EASYRSA_BATCH: '1',
        EASYRSA_PKI: pki,
        EASYRSA_ALGO: 'ec',
        EASYRSA_CURVE: 'prime256v1',
        EASYRSA_CERT_EXPIRE: '90',
        EASYRSA_CERT_RENEW: '90',
        ...env,
      },
    })
  mkdirSync(folder, { recursive: true })
  await run(['init-pki'])
  await run(['build-ca', 'nopass'], { EASYRSA_REQ_CN: name })
  const pairOf = (client: string) => ({
    cert: read(`issued/${client}.crt`),
    key: read(`private/${client}.key`),
  })
  return {
    certificates: [read('ca.crt')],
    root: read('ca.crt'),
    async issue(client, kind) {
      const names = kind === 'server' ? ['--subject-alt-name=DNS:gateway.local,IP:127.0.0.1'] : []
      await run([...names, `build-${kind}-full`, client, 'nopass'])
      return pairOf(client)
    },
    async renew(client) {
      await run(['renew', client, 'nopass'])
      return pairOf(client)
    },
    async revoke(client) {
      await run(['revoke', client])
    },
    async list() {
      await run(['gen-crl'])
      return readFileSync(join(pki, 'crl.pem'))
    },
  }
}

export const makeStepAuthority: MakeAuthority = async (t, folder, name) => {
  const at = (file: string) => join(folder, file)
  const read = (file: string) => readFileSync(at(file), 'utf8')
  const port = await freePort()
  const env = { STEPPATH: folder }
  const run = (args: string[]) => succeed('step', args, { env })
  mkdirSync(folder, { recursive: true })
  writeFileSync(at('password'), 'for a test only\n', { mode: 0o600 })
  const passwords = ['--password-file', at('password')]
  const proven = ['--provisioner', 'admin', '--provisioner-password-file', at('password')]
  const kind = ['--deployment-type', 'standalone']
  const place = ['--dns', 'localhost', '--address', `127.0.0.1:${port}`]
  await run(['ca', 'init', ...kind, '--name', name, ...place, ...passwords, ...proven])
  const config = JSON.parse(read('config/ca.json')) as Record<string, unknown>
  const crl = { enabled: true, generateOnRevoke: true }
  writeFileSync(at('config/ca.json'), JSON.stringify({ ...config, crl }))
  const url = `https://localhost:${port}`
  await startProgram(t, {
    command: 'step-ca',
    args: [at('config/ca.json'), ...passwords],
    env,
    ready: async () => {
      const health = await succeed('step', ['ca', 'health', ...there()], { env }).catch(() => '')
      return health.includes('ok')
    },
  })
  function there(): string[] {
    return ['--ca-url', url, '--root', at('certs/root_ca.crt')]
  }
  const pairOf = (client: string) => ({ cert: read(`${client}.crt`), key: read(`${client}.key`) })
  const filesOf = (client: string) => [at(`${client}.crt`), at(`${client}.key`)]
  return {
    certificates: [read('certs/root_ca.crt'), read('certs/intermediate_ca.crt')],
    root: read('certs/root_ca.crt'),
    async issue(client, kind) {
      const names = kind === 'server' ? ['--san', 'gateway.local', '--san', '127.0.0.1'] : []
      await run(['ca', 'certificate', client, ...filesOf(client), ...names, ...proven, ...there()])
      return pairOf(client)
    },
    async renew(client) {
      await run(['ca', 'renew', ...filesOf(client), '--force', ...there()])
      return pairOf(client)
    },
    async revoke(client) {
      const [cert = '', key = ''] = filesOf(client)
      await run(['ca', 'revoke', '--cert', cert, '--key', key, ...there()])
    },
    async list() {
      const to = ['-o', at('ca.crl'), `${url}/1.0/crl`]
      await succeed('curl', ['-sf', '--cacert', at('certs/root_ca.crt'), ...to])
      return readFileSync(at('ca.crl'))
    },
  }
}
