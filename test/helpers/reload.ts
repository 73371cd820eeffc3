// The reload of one listener, as the gateway puts it together.
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { problemsOf, type Prepared, type ReloadScope } from '../../src/listener/reload.ts'
import { renewalOf } from '../../src/listener/reload-tls.ts'
import type { ListenerServer } from '../../src/listener/server.ts'
import { createCrlFiles } from '../../src/listener/trust/crl-files.ts'

/** A scope that is everything and has one part. */
export function listenerScope(server: ListenerServer, tls: () => ListenerTlsConfig): ReloadScope {
  const renewal = renewalOf(server)
  const lists = createCrlFiles()
  return {
    name: 'listen',
    files: () => renewal?.files(tls()) ?? [],
    async prepare(): Promise<Prepared> {
      const nothing = { take: () => undefined, discard: () => undefined }
      try {
        const { facts, take } = (await renewal?.prepare(tls(), lists)) ?? {
          ...nothing,
          facts: {},
        }
        return { ...nothing, take, parts: [{ part: 'listen', problems: [], facts }] }
      } catch (error) {
        return { ...nothing, parts: [{ part: 'listen', problems: problemsOf('listen', error) }] }
      }
    },
  }
}
