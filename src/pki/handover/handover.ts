// Defines what a client needs to pull through a gateway, and the shape of the files made of that.
import { isIP } from 'node:net'
import { UsageError, type Problem } from '../../errors.ts'
import { isDnsName } from '../name-rules.ts'

export interface HandoverInput {
  /** What the certificate's files are called. */
  name: string
  gateway: URL
  /** Registries that are pulled through the gateway, such as `docker.io`, `registry.local:5000`. */
  registries: readonly string[]
  /** What copies the files to a node of Kubernetes; needs a shell and `cmp`. */
  image?: string | undefined
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

/**
 * The address of a gateway, which stands in names of folders, TOML, YAML and commands afterwards.
 * Throws UsageError where it is no `https://host[:port]` of a DNS name or an IP address.
 */
export function parseGateway(text: string): URL {
  const url = URL.parse(text)
  const isBare = url?.protocol === 'https:' && url.href === `${url.origin}/` && !/[?#]$/.test(text)
  if (url !== null && isBare && isHost(url.hostname)) return url
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

/** The CA, the certificate and the key, in one folder; under the names that `pairPaths` has, unless told. */
export function pairFiles(
  { name, caPem, chainPem, keyPem }: HandoverInput,
  folder: string,
  names: PairPaths = usualNames(name),
): HandoverFile[] {
  const at = (file: string) => `${folder}/${file}`
  return [
    { path: at(names.ca), content: caPem, mode: 0o644 },
    { path: at(names.certificate), content: chainPem, mode: 0o644 },
    ...(keyPem === undefined ? [] : [{ path: at(names.key), content: keyPem, mode: 0o600 }]),
  ]
}

/** The files as a client finds them: paths as they stand in its configuration. */
export interface PairPaths {
  ca: string
  certificate: string
  key: string
}

/**
 * A hosts.toml, as containerd reads it, by which a registry's images come from the gateway. The
 * gateway is `server` too: otherwise the registry itself is asked whenever the gateway refuses, and
 * for what no `host` is capable of. What stands above the tables is for `server`. `paths` may be
 * relative to the file.
 */
export function hostsToml({ origin }: URL, { ca, certificate, key }: PairPaths): string {
  const trust = (indent: string) =>
    `${indent}ca = ${tomlText(ca)}\n${indent}client = [[${tomlText(certificate)}, ${tomlText(key)}]]\n`
  return `server = ${tomlText(origin)}
${trust('')}
[host.${tomlText(origin)}]
  capabilities = ["pull", "resolve"]
${trust('  ')}`
}

/** A basic string of TOML, whose escapes are those of JSON as far as JSON has them. */
export function tomlText(text: string): string {
  return JSON.stringify(text)
}

/** The registries and the gateway's own name, each once: a folder of hosts.toml for each. */
export function hostNames({ gateway, registries }: HandoverInput): string[] {
  return [...new Set([...registries, gateway.host])]
}

/** Where `<name>.crt`, `<name>.key` and `ca.crt` are in `folder`. */
export function pairPaths(folder: string, name: string): PairPaths {
  const { ca, certificate, key } = usualNames(name)
  return { ca: `${folder}/${ca}`, certificate: `${folder}/${certificate}`, key: `${folder}/${key}` }
}

function usualNames(name: string): PairPaths {
  return { ca: 'ca.crt', certificate: `${name}.crt`, key: `${name}.key` }
}

/** What to do with a key that never left the node; nothing where it is handed over. */
export function keyStep({ keyPem }: HandoverInput, path: string): string[] {
  return keyPem === undefined ? [`# put the key of the request at ${path}, mode 0600`] : []
}

function isRegistry(text: string): boolean {
  const [, host = '', port] = /^([^:]*)(?::(\d{1,5}))?$/.exec(text) ?? []
  return isHost(host) && (port === undefined || Number(port) <= 65_535)
}

/** The host of a URL: a DNS name, an IPv4 address, or an IPv6 one in brackets. */
function isHost(text: string): boolean {
  const [, address = text] = /^\[(.+)\]$/.exec(text) ?? []
  return isIP(address) !== 0 || (isDnsName(text) && !text.startsWith('*'))
}
