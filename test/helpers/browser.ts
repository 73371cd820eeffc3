// Chromium with nothing of this machine's in it: trusts one CA, and shows one client certificate.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { launch, type Browser } from 'puppeteer-core'
import type { Test } from 'tap'
import type { Issued } from '../../src/pki/authority.ts'
import { findProgram } from '../requirements.ts'

export interface BrowserOptions {
  caPem: string
  client: Pick<Issued, 'certificatePem' | 'keyPem'>
}

/** Started with a profile and a home folder of its own; closed with the test. */
export async function startBrowser(t: Test, options: BrowserOptions): Promise<Browser> {
  const home = t.testdir({})
  fillCertificateStore(home, options)
  const browser = await launch({
    executablePath: withPolicy(home),
    userDataDir: join(home, 'profile'),
    env: { ...process.env, HOME: home },
    // The sandbox does not work as root.
    args: ['--no-sandbox', '--disable-breakpad'],
  })
  t.teardown(() => browser.close())
  return browser
}

/** The store of NSS, where Chromium looks on Linux. */
function fillCertificateStore(home: string, { caPem, client }: BrowserOptions): void {
  const store = join(home, '.pki/nssdb')
  mkdirSync(store, { recursive: true })
  const write = (name: string, text: string) => {
    writeFileSync(join(home, name), text)
    return join(home, name)
  }
  const ca = write('ca.crt', caPem)
  const pair = [
    '-in',
    write('c.crt', client.certificatePem),
    '-inkey',
    write('c.key', client.keyPem),
  ]
  const archive = join(home, 'client.p12')
  run('openssl', ['pkcs12', '-export', ...pair, '-out', archive, '-passout', 'pass:x'])
  run('certutil', ['-d', `sql:${store}`, '-N', '--empty-password'])
  run('certutil', ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'ca', '-i', ca])
  run('pk12util', ['-d', `sql:${store}`, '-i', archive, '-W', 'x'])
}

/**
 * A program that runs Chromium with a policy: without one it asks a person which certificate to
 * show. Policies have one place only, so it gets a mount of its own there that nobody else sees.
 */
function withPolicy(home: string): string {
  const policies = '/etc/chromium/policies/managed'
  const everywhere = JSON.stringify({ pattern: '*', filter: {} })
  const policy = JSON.stringify({ AutoSelectCertificateForUrls: [everywhere] })
  const program = join(home, 'chromium')
  const inside = [
    'mount -t tmpfs tmpfs /etc/chromium',
    `mkdir -p ${policies}`,
    `echo "$POLICY" >${policies}/test.json`,
    `exec ${findProgram('chromium')} "$@"`,
  ].join(' && ')
  const script = `#!/bin/sh
export POLICY='${policy}'
exec unshare --mount sh -c '${inside}' chromium "$@"
`
  writeFileSync(program, script, { mode: 0o755 })
  return program
}

function run(program: string, args: string[]): void {
  execFileSync(findProgram(program) ?? program, args, { stdio: 'pipe' })
}
