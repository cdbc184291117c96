// SPDX-License-Identifier: Apache-2.0
// Answer.java PORT: Java's HttpServer. /ok, /missing, /broken and /busy say what they are called.
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.Executors;

public class Answer {
  public static void main(String[] arguments) throws Exception {
    Map<String, Integer> statuses = Map.of("/missing", 404, "/broken", 500, "/busy", 503);
    byte[] body = "well\n".getBytes();
    HttpServer server = HttpServer.create(
        new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[0])), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/", exchange -> {
      exchange.getRequestBody().readAllBytes();
      int status = statuses.getOrDefault(exchange.getRequestURI().getPath(), 200);
      exchange.sendResponseHeaders(status, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
