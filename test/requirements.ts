// The programs that some suites need beside Node, and what to do where they are missing.
// `node test/requirements.ts packages` prints the Debian packages that are missing here, `skipped`
// the suites that cannot run and why.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Needs {
  programs: readonly string[]
  /** Mounts and processes of its own, which only root may have, and in a container not always. */
  namespaces?: boolean
  /** No package of Debian, or a large one: skipped with the reason where it is missing, also with `CI=true`. */
  optional?: boolean
}

const lab = ['nginx', 'docker-registry', 'setpriv']
const enclosed = [...lab, 'unshare', 'mount']
const engine = [...enclosed, 'dockerd', 'docker', 'containerd', 'runc']

/** Suites by name: `test/e2e/<name>.test.ts`, but some are of another folder. */
const suites = {
  scripts: { programs: ['shellcheck'] },
  lab: { programs: lab },
  pki: { programs: ['openssl'] },
  upstream: { programs: ['openssl'] },
  pkcs12: { programs: ['openssl', 'certutil', 'pk12util'] },
  foreign: { programs: ['openssl', 'gnutls-cli', 'skopeo'] },
  curl: { programs: [...lab, 'curl'] },
  skopeo: { programs: [...lab, 'skopeo'] },
  containerd: { programs: [...enclosed, 'containerd', 'ctr', 'runc'], namespaces: true },
  'small-disk': {
    programs: [...enclosed, 'umount', 'containerd', 'ctr', 'runc'],
    namespaces: true,
  },
  months: { programs: [...lab, 'skopeo', 'faketime'] },
  docker: {
    programs: engine,
    namespaces: true,
  },
  podman: { programs: [...enclosed, 'podman', 'runc'], namespaces: true },
  archives: {
    programs: [
      ...enclosed,
      'skopeo',
      'podman',
      'ctr',
      'containerd',
      'docker',
      'dockerd',
      'runc',
      'tar',
    ],
    namespaces: true,
  },
  login: { programs: [...engine, 'ctr', 'podman', 'skopeo'], namespaces: true },
  'same-result': { programs: [...engine, 'ctr', 'podman', 'skopeo'], namespaces: true },
  revocation: { programs: ['setpriv'] },
  'short-lived': {
    programs: [...enclosed, 'containerd', 'ctr', 'runc', 'skopeo'],
    namespaces: true,
  },
  'authorities-openssl': { programs: ['setpriv', 'openssl'] },
  'authorities-easy-rsa': { programs: ['setpriv', 'openssl', 'easyrsa'] },
  'authorities-step-ca': { programs: ['setpriv', 'step-ca', 'step', 'curl'], optional: true },
  zlint: { programs: ['zlint', 'openssl'], optional: true },
  browser: { programs: [...enclosed, 'chromium', 'certutil', 'pk12util'], namespaces: true },
  'tls-quality': { programs: ['testssl', 'sslscan', 'hexdump', 'host'] },
  load: { programs: lab },
  replicas: { programs: [...lab, 'haproxy'] },
  doctor: { programs: lab },
  refusals: { programs: [...lab, 'curl'] },
  start: { programs: ['setpriv'] },
  kill: { programs: ['setpriv', 'prlimit'] },
  storing: { programs: ['prlimit'] },
  injection: { programs: ['setpriv', 'strace'] },
  disk: { programs: ['unshare', 'mount'], namespaces: true },
  alerts: { programs: ['promtool'] },
  dashboard: { programs: ['prometheus'] },
  haproxy: { programs: ['haproxy', 'setpriv'] },
  notify: { programs: ['systemd-notify', 'python3'] },
  unit: { programs: ['systemd-analyze'] },
  chart: { programs: ['helm'], optional: true },
  ceph: { programs: ['ceph', 'ceph-mon', 'ceph-osd', 'radosgw'], optional: true },
  matrix: { programs: lab },
  container: { programs: [...engine, 'busybox', 'ldd', 'tar', 'iptables'], namespaces: true },
  'matrix-compose': {
    programs: [...engine, 'docker-compose', 'iptables', 'busybox', 'ldd', 'tar'],
    namespaces: true,
  },
  isolation: { programs: [...enclosed, 'curl', 'nsenter', 'ip'], namespaces: true },
  'status-page': {
    programs: ['unshare', 'mount', 'chromium', 'certutil', 'pk12util', 'openssl'],
    namespaces: true,
  },
  docs: {
    programs: ['unshare', 'mount', 'chromium', 'certutil', 'pk12util', 'openssl'],
    namespaces: true,
  },
} satisfies Record<string, Needs>

type Suite = keyof typeof suites

const packageOf: Record<string, string> = {
  ceph: 'ceph-common',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  certutil: 'libnss3-tools',
  easyrsa: 'easy-rsa',
  'gnutls-cli': 'gnutls-bin',
  pk12util: 'libnss3-tools',
  hexdump: 'bsdextrautils',
  host: 'bind9-host',
  nginx: 'nginx-light',
  testssl: 'testssl.sh',
  ctr: 'containerd',
  docker: 'docker.io',
  dockerd: 'docker.io',
  ldd: 'libc-bin',
  setpriv: 'util-linux',
  prlimit: 'util-linux',
  promtool: 'prometheus',
  radosgw: 'radosgw',
  'systemd-analyze': 'systemd',
  'systemd-notify': 'systemd',
  umount: 'mount',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  ip: 'iproute2',
}

/** Where Debian keeps programs that are on nobody's PATH. */
const apart = ['/usr/share/easy-rsa']

/** Where `program` is, daemons' folders included, which are not on everybody's PATH. */
export function findProgram(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', ...apart]
  return folders.map((folder) => join(folder, program)).find(isExecutable)
}

/**
 * Options for every `t.test` of a suite: skipped with the reason where something is missing. With
 * `CI=true` it throws instead, because there nothing may be skipped.
 */
export function optionsFor(suite: Suite): { skip?: string } {
  const needs: Needs = suites[suite]
  const reason = reasonToSkip(needs)
  if (reason === undefined) return {}
  if (process.env['CI'] === 'true' && needs.optional !== true) {
    throw new Error(`${suite}: ${reason}, and CI skips nothing`)
  }
  return { skip: reason }
}

function reasonToSkip(needs: Needs): string | undefined {
  const missing = needs.programs.filter((program) => findProgram(program) === undefined)
  const isPackaged = missing.some((program) => program in packageOf)
  if (missing.length > 0 && needs.optional === true && !isPackaged) {
    return `${missing.join(', ')} not on PATH (Go modules, no packages of Debian)`
  }
  if (missing.length > 0) {
    return `${missing.join(', ')} not found (Debian: apt-get install ${packagesOf(missing).join(' ')})`
  }
  return needs.namespaces === true && !mayMakeNamespaces()
    ? 'needs root that may make namespaces'
    : undefined
}

function mayMakeNamespaces(): boolean {
  const made = spawnSync('unshare', ['--mount', '--pid', '--net', '--fork', 'true'])
  return process.getuid?.() === 0 && made.status === 0
}

function packagesOf(programs: readonly string[]): string[] {
  return [...new Set(programs.map((program) => packageOf[program] ?? program))].sort()
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

if (import.meta.main) {
  const all = Object.entries<Needs>(suites)
  if (process.argv[2] === 'packages') {
    const packaged = all.filter(([, { optional }]) => optional !== true)
    const programs = packaged.flatMap(([, needs]) => needs.programs)
    const missing = programs.filter((program) => findProgram(program) === undefined)
    process.stdout.write(packagesOf(missing).join(' '))
  } else {
    for (const [suite, needs] of all) {
      const reason = reasonToSkip(needs)
      if (reason !== undefined) process.stdout.write(`skipped: ${suite}: ${reason}\n`)
    }
  }
}
