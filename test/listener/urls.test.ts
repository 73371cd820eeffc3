// Under which URLs a browser reaches a listener.
import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { listenerUrls } from '../../src/listener/urls.ts'
import { makeCertificate } from '../helpers/certificates.ts'

t.test('with TLS: by every name of the certificate that can be called', async (t) => {
  const { certificatePem } = await makeCertificate({
    subject: 'CN=gateway',
    purposes: ['server'],
    dnsNames: ['gateway.local', '*.example.org', 'gateway.local'],
    ipAddresses: ['127.0.0.1', '::1'],
  })
  const certificate = new X509Certificate(certificatePem)
  t.same(listenerUrls('0.0.0.0', certificate, 5443), [
    'https://gateway.local:5443',
    'https://127.0.0.1:5443',
    'https://[::1]:5443',
  ])
  t.match(listenerUrls('::', certificate, 443), ['https://gateway.local'])
})

t.test('a certificate without names has no URL', async (t) => {
  const { certificatePem } = await makeCertificate({ subject: 'CN=gateway', purposes: ['server'] })
  const certificate = new X509Certificate(certificatePem)
  t.same(listenerUrls('127.0.0.1', certificate, 5443), [])
})

t.test('without TLS: by the address', async (t) => {
  const urls = (host: string) => listenerUrls(host, undefined, 5480)
  t.same(urls('127.0.0.1'), ['http://localhost:5480', 'http://127.0.0.1:5480'])
  t.same(urls('::1'), ['http://localhost:5480', 'http://[::1]:5480'])
  t.same(urls('localhost'), ['http://localhost:5480'])
  t.same(urls('0.0.0.0'), ['http://localhost:5480', 'http://127.0.0.1:5480'])
  t.same(urls('192.0.2.7'), ['http://192.0.2.7:5480'])
})
