// The `prepare` service of docker-compose.yml: writes the lab into its volume, then stays, because
// `docker compose up --abort-on-container-exit` ends everything with the first container that ends.
import { chmodSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeLab } from './lab.ts'
import { composePlaces } from './places.ts'
import { situationNamed } from './plan.ts'

const broken = (process.env['MATRIX_BREAK'] ?? '').split(',').filter((name) => name !== '')
await writeLab(composePlaces, { broken: broken.map(situationNamed) })
// The gateways run as another user. Nothing but the containers of this lab sees the volume.
for (const file of readdirSync(composePlaces.lab)) chmodSync(join(composePlaces.lab, file), 0o644)

// What the health check looks for; in memory, so that it is not there when this starts again.
writeFileSync('/tmp/ready', '')
setInterval(() => undefined, 2 ** 30)
process.once('SIGTERM', () => process.exit(0))
