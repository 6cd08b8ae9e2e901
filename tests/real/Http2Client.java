import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Asks over HTTP/2 with the JDK's own client: PKCS #12 file, its password, CA, URL, token. Says version and status of each. */
class Http2Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_2)
                .sslContext(context(arguments[0], arguments[1].toCharArray(), arguments[2]))
                .build();
        HttpRequest.Builder asks =
                HttpRequest.newBuilder(URI.create(arguments[3])).header("Authorization", "Bearer " + arguments[4]);
        say(client.send(asks.build(), BodyHandlers.ofString()));
        say(client.send(asks.POST(BodyPublishers.ofString("x".repeat(300000))).build(), BodyHandlers.ofString()));
        List<CompletableFuture<HttpResponse<String>>> many = new ArrayList<>();
        for (int number = 0; number < 50; number++) {
            many.add(client.sendAsync(asks.GET().build(), BodyHandlers.ofString()));
        }
        for (CompletableFuture<HttpResponse<String>> one : many) {
            say(one.get());
        }
        say(client.send(HttpRequest.newBuilder(URI.create(arguments[3])).build(), BodyHandlers.ofString()));
    }

    private static void say(HttpResponse<String> answer) {
        System.out.println(answer.version() + " " + answer.statusCode());
    }

    private static SSLContext context(String file, char[] password, String authority) throws Exception {
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(new FileInputStream(file), password);
        KeyManagerFactory own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        own.init(keys, password);
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        trusted.setCertificateEntry(
                "ca", CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(authority)));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(own.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }
}
