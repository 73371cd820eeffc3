// What a client needs to pull through a gateway, and the shape of the files made of that.
import { UsageError, type Problem } from '../../errors.ts'
import { isDnsName } from '../name-rules.ts'

export interface HandoverInput {
  /** What the certificate's files are called. */
  name: string
  gateway: URL
  /** Registries that are pulled through the gateway, such as `docker.io`, `registry.local:5000`. */
  registries: readonly string[]
  /** PEM of the authority that signed the gateway's certificate. */
  caPem: string
  /** PEM, the leaf first. */
  chainPem: string
  /** PEM, unencrypted; undefined where it is on the node already. */
  keyPem: string | undefined
}

export interface HandoverFile {
  /** Relative to the root of the node's file system, or to the folder that is handed over. */
  path: string
  content: string | Buffer
  mode: number
}

export interface Handover {
  files: HandoverFile[]
  /** What to do on the node, in order: commands, or remarks that start with `#`. */
  steps: string[]
  /** One command that pulls, or connects, by way of the gateway. */
  test: string
}

/** The address of a gateway. Throws UsageError where it is no `https://host[:port]`. */
export function parseGateway(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const bare = url?.protocol === 'https:' && url.href === `${url.origin}/` && !/[?#]$/.test(text)
  if (url !== undefined && bare) return url
  const message = `${JSON.stringify(text)} must be https://host or https://host:port`
  throw new UsageError([{ path: '--gateway', message }])
}

/** Throws UsageError for each of `registries` that is no host with or without a port. */
export function checkRegistries(registries: readonly string[]): void {
  const problems: Problem[] = registries
    .filter((registry) => !isRegistry(registry))
    .map((registry) => ({
      path: '--registries',
      message: `${JSON.stringify(registry)} is no registry such as docker.io or registry.local:5000`,
    }))
  if (problems.length > 0) throw new UsageError(problems)
}

/** An image to try a pull with. */
export function sampleImage(registries: readonly string[]): string {
  if (registries.includes('docker.io')) return 'docker.io/library/alpine:latest'
  return `${registries[0] ?? 'docker.io'}/REPOSITORY:TAG`
}

/** The CA, the certificate and the key, in one folder under the names given. */
export function pairFiles(
  { caPem, chainPem, keyPem }: HandoverInput,
  folder: string,
  names: { ca: string; certificate: string; key: string },
): HandoverFile[] {
  const at = (file: string) => `${folder}/${file}`
  return [
    { path: at(names.ca), content: caPem, mode: 0o644 },
    { path: at(names.certificate), content: chainPem, mode: 0o644 },
    ...(keyPem === undefined ? [] : [{ path: at(names.key), content: keyPem, mode: 0o600 }]),
  ]
}

/** What to do with a key that never left the node; nothing where it is handed over. */
export function keyStep({ keyPem }: HandoverInput, path: string): string[] {
  return keyPem === undefined ? [`# put the key of the request at ${path}, mode 0600`] : []
}

function isRegistry(text: string): boolean {
  const [, host = '', port] = /^([^:]*)(?::(\d{1,5}))?$/.exec(text) ?? []
  const isHost = isDnsName(host) || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(host)
  return isHost && !host.startsWith('*') && (port === undefined || Number(port) <= 65_535)
}
