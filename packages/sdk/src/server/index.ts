/**
 * Doors: what takes reports from agents over HTTP.
 *
 * @module @bifrost/sdk/server
 */

export { type ApiKeyAuthenticator, type ApiKeyEntry, type ApiKeyOptions, apiKeyAuthenticator, createApiKey } from './auth/api-keys.ts';
export { type Authenticator, anyOf, type ClientCertificate, type ShownCredentials } from './auth/authenticator.ts';
export { type CertificateIdentity, certificateAuthenticator } from './auth/certificates.ts';
export { forwardedCertificate } from './auth/forwarded-certificate.ts';
export type { KeyFetch } from './auth/issuer-keys.ts';
export { type JwtOptions, jwtAuthenticator } from './auth/jwt.ts';
export type { JwtAlgorithm } from './auth/jwt-options.ts';
export { peerCertificate } from './auth/peer-certificate.ts';
export { callerOf, customersOf, hasEverywhere, isEntitled, type Principal, type Role, type RoleGrant, roleFor } from './auth/principal.ts';
export {
  type AdminFlag,
  decide,
  METHOD_RULES,
  type MethodName,
  type MethodRule,
  permissionDenied,
  ruleOf,
  type Verdict,
} from './auth/rules.ts';
export { type ServiceAccountOptions, serviceAccountAuthenticator } from './auth/service-accounts.ts';
export {
  hashOfRequest,
  type IdempotencyOptions,
  IdempotencyStore,
  type KeyedCall,
  type KeyedOutcome,
  replayedHeaders,
  type Settled,
} from './limits/idempotency.ts';
export {
  type Attempt,
  type RateLimit,
  RateLimiter,
  type RateLimiterOptions,
  type RateVerdict,
  rateLimited,
  rateLimitHeaders,
  tighterOf,
} from './limits/rate-limiter.ts';
export { createReportHandler, type ReportHandlerOptions } from './report-handler.ts';
