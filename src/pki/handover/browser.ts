// Hands over to a person's browser: one PKCS#12 file, and the passphrase that it asks for.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { UsageError } from '../../errors.ts'
import { shellWord } from '../../rules/shell-word.ts'
import { pkcs12Of } from '../encryption.ts'
import type { Handover, HandoverInput } from './handover.ts'

/** `passphrase` protects the file, and comes with it in a file of its own. */
export function browserHandover(input: HandoverInput, passphrase: string): Handover {
  const { name, gateway, caPem, chainPem, keyPem } = input
  if (keyPem === undefined) {
    const message = 'browser needs the key for its file: issue the certificate without --csr'
    throw new UsageError([{ path: '--for', message }])
  }
  const blocks = (chainPem + caPem).match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []
  const pkcs12 = pkcs12Of(
    {
      friendlyName: name,
      certificates: blocks.map((block) => new X509Certificate(block).raw),
      key: createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' }),
    },
    passphrase,
  )
  const file = `${name}.p12`
  return {
    files: [
      { path: file, content: pkcs12, mode: 0o600 },
      { path: `${name}.passphrase`, content: `${passphrase}\n`, mode: 0o600 },
      { path: 'ca.crt', content: caPem, mode: 0o644 },
    ],
    steps: [
      `# import ${file} under "your certificates", with the passphrase in ${name}.passphrase`,
      '# import ca.crt under "authorities", to identify websites',
    ],
    test:
      `curl --cacert ca.crt --cert-type P12 --cert ${file}:"$(cat ${name}.passphrase)" ` +
      shellWord(gateway.href),
  }
}
