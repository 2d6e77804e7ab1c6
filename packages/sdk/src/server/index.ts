/**
 * Doors of a hosted manager: reports from agents, and the network API.
 *
 * @module @bifrost/sdk/server
 */
export { type ApiServer, type ApiServerOptions, createApiServer } from './api/api-server.ts';
export type { Caller, Peer } from './api/caller.ts';
export type { TrustsPeer } from './api/credentials.ts';
export type { ApiTls } from './api/entrance.ts';
export type { NetworkApiOptions } from './api/network-api.ts';
export type { Page } from './api/pages.ts';
export { type ApiKeyAuthenticator, type ApiKeyEntry, type ApiKeyOptions, apiKeyAuthenticator, createApiKey } from './auth/api-keys.ts';
export { type Authenticator, anyOf, type ClientCertificate, type ShownCredentials } from './auth/authenticator.ts';
export { type CertificateIdentity, certificateAuthenticator } from './auth/certificates.ts';
export type { KeyFetch } from './auth/issuer-keys.ts';
export { type JwtOptions, jwtAuthenticator } from './auth/jwt.ts';
export type { JwtAlgorithm } from './auth/jwt-options.ts';
export type { Principal, Role, RoleGrant } from './auth/principal.ts';
export { type AdminFlag, METHOD_RULES, type MethodName, type MethodRule } from './auth/rules.ts';
export { type ServiceAccountOptions, serviceAccountAuthenticator } from './auth/service-accounts.ts';
export type { RateLimit, RateLimiterOptions } from './limits/rate-limiter.ts';
export { createReportHandler, type ReportHandlerOptions } from './report-handler.ts';
