// What testssl.sh and sslscan find at the gateway: nothing above low.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { findProgram, optionsFor } from '../requirements.ts'
import { startSite } from '../threats/site.ts'

interface Finding {
  id: string
  severity: 'LOW' | 'MEDIUM' | 'HIGH' | 'CRITICAL' | 'FATAL' | 'WARN' | 'INFO' | 'OK'
  finding: string
}

const quality = optionsFor('tls-quality')
t.setTimeout(600_000)

/** What is said of the certificate: a small authority hands its revocation list over as a file. */
const expected = new Set(['cert_revocation'])

/** Standard output of a program that must not wait for anybody. */
async function run(program: string, args: string[], cwd: string): Promise<string> {
  const child = spawn(findProgram(program) ?? program, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return output
}

t.test('testssl.sh finds nothing above low', quality, async (t) => {
  const site = await startSite(t, { clientAuth: 'optional' })
  const report = join(t.testdir({}), 'report.json')
  await run(
    'testssl',
    // Protocols, ciphers, preference, certificate and forward secrecy, and what is known to be weak.
    `--quiet --color 0 --ip 127.0.0.1 --nodns none --protocols --std --server-preference
     --server-defaults --fs --vulnerable --jsonfile ${report}
     --add-ca ${join(site.folder, 'ca.crt')} localhost:${site.port}`.split(/\s+/),
    site.folder,
  )
  const findings = JSON.parse(readFileSync(report, 'utf8')) as Finding[]
  t.ok(findings.length > 40, `${findings.length} findings`)
  t.ok(findings.some(({ id, severity }) => id === 'TLS1_3' && severity === 'OK'))
  const above = findings.filter(
    ({ id, severity }) =>
      ['MEDIUM', 'HIGH', 'CRITICAL', 'FATAL'].includes(severity) && !expected.has(id),
  )
  t.same(above, [])
})

t.test('sslscan sees TLS 1.2 and 1.3 with AEAD ciphers only', quality, async (t) => {
  const site = await startSite(t, { clientAuth: 'optional' })
  const output = await run('sslscan', ['--no-colour', `127.0.0.1:${site.port}`], site.folder)
  t.match(output, /TLSv1\.2 +enabled/)
  t.match(output, /TLSv1\.3 +enabled/)
  t.notMatch(output, /(SSLv[23]|TLSv1\.[01]) +enabled/)
  t.notMatch(output, /: vulnerable|compression enabled/i)
  const ciphers = [...output.matchAll(/^(?:Preferred|Accepted) .* bits +(\S+)/gm)].map(
    ([, name]) => name ?? '',
  )
  t.ok(ciphers.length >= 5)
  for (const cipher of ciphers) t.match(cipher, /GCM|CHACHA20/, cipher)
})
