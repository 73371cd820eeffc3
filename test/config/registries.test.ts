import t from 'tap'
import { defaultRedirects, defaultUrl, isDockerHub } from '../../src/config/registries.ts'

void t.test('the names of Docker Hub are one registry', async (t) => {
  for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
    t.equal(isDockerHub(name), true, name)
    t.equal(defaultUrl(name), 'https://registry-1.docker.io', name)
    t.ok(defaultRedirects(name).includes('production.cloudflare.docker.com'), name)
  }
  t.equal(isDockerHub('hub.docker.com'), false)
})

void t.test('any other upstream is found under its own name', async (t) => {
  t.equal(defaultUrl('quay.io'), 'https://quay.io')
  t.equal(defaultUrl('registry.local:6443'), 'https://registry.local:6443')
})

void t.test('redirect hosts are known by registry, also where its name is a pattern', async (t) => {
  t.ok(defaultRedirects('quay.io').includes('*.quay.io'))
  t.ok(defaultRedirects('europe-docker.pkg.dev').includes('storage.googleapis.com'))
  t.equal(defaultRedirects('123456789012.dkr.ecr.eu-west-1.amazonaws.com').length, 2)
  t.strictSame(defaultRedirects('registry.local'), [])
  t.strictSame(defaultRedirects('evil-quay.io'), [])
})

void t.test('a caller cannot change the table', async (t) => {
  defaultRedirects('ghcr.io').push('evil.example')
  t.notOk(defaultRedirects('ghcr.io').includes('evil.example'))
})
